"""Window boundaries in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.windows import MINUTE_US, Grain, from_iso, minute_of, to_iso, window_end, window_start, windows_touched

_INSTANTS = st.integers(min_value=-60_000_000_000_000_000, max_value=250_000_000_000_000_000)
_FINITE = [Grain.MINUTE, Grain.FIVE_MINUTES, Grain.HOUR, Grain.DAY]


def test_grains_are_named_as_stored() -> None:
    assert [str(grain) for grain in Grain] == ["1m", "5m", "1h", "1d", "all"]
    assert [grain.seconds for grain in Grain] == [60, 300, 3600, 86400, 0]
    assert Grain("5m") is Grain.FIVE_MINUTES


@pytest.mark.parametrize(
    ("grain", "start"),
    [
        (Grain.MINUTE, "2024-02-29T23:58:00Z"),
        (Grain.FIVE_MINUTES, "2024-02-29T23:55:00Z"),
        (Grain.HOUR, "2024-02-29T23:00:00Z"),
        (Grain.DAY, "2024-02-29T00:00:00Z"),
        (Grain.ALL, "1970-01-01T00:00:00Z"),
    ],
)
def test_start_is_the_utc_boundary_before(grain: Grain, start: str) -> None:
    assert to_iso(window_start(from_iso("2024-02-29T23:58:59.999999Z"), grain)) == start


@given(_INSTANTS, st.sampled_from(_FINITE))
def test_window_holds_its_instant(time_us: int, grain: Grain) -> None:
    start = window_start(time_us, grain)
    end = window_end(start, grain)
    assert end is not None
    assert start <= time_us < end
    assert window_start(start, grain) == start
    assert window_start(end - 1, grain) == start


def test_cumulative_window_has_no_end() -> None:
    assert window_end(0, Grain.ALL) is None


@given(st.lists(_INSTANTS, max_size=20), st.sampled_from(list(Grain)))
def test_touched_windows_are_those_of_the_instants(instants: list[int], grain: Grain) -> None:
    touched = windows_touched([minute_of(time_us) for time_us in instants], grain)
    assert touched == tuple(sorted({window_start(time_us, grain) for time_us in instants}))


def test_touched_merges_minutes_of_one_window() -> None:
    assert windows_touched([5, 9, 4, 5], Grain.FIVE_MINUTES) == (0, 5 * MINUTE_US)
    assert windows_touched([], Grain.ALL) == ()


@given(_INSTANTS)
def test_iso_round_trip(time_us: int) -> None:
    assert from_iso(to_iso(time_us)) == time_us


def test_iso_forms() -> None:
    assert to_iso(1) == "1970-01-01T00:00:00.000001Z"
    assert to_iso(1_697_365_800_000_000) == "2023-10-15T10:30:00Z"
    assert from_iso("2023-10-15T12:30:00+02:00") == from_iso("2023-10-15T10:30:00") == 1_697_365_800_000_000
    assert from_iso("2023-10-15T10:30:00.123456789Z") == 1_697_365_800_123_456
    assert from_iso("2023-10-15") == int(datetime(2023, 10, 15, tzinfo=UTC).timestamp()) * 1_000_000
    with pytest.raises(ValueError, match="Invalid"):
        from_iso("yesterday")
    with pytest.raises(OverflowError):
        to_iso(10**20)

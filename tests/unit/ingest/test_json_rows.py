"""What the JSON doors share: times, nesting, quarantine and objects."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.errors import InvalidArgument, ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest import json_rows
from schemas.arrow_stream import stream

NOW_US = 1_790_000_000_000_000


def micros(*stamps: str | None) -> list[int]:
    alone = json_rows.times_of(stamps, "timestamp", NOW_US).tolist()
    # Many are read by other means than few.
    assert json_rows.times_of([*stamps] * 10, "timestamp", NOW_US).tolist() == alone * 10
    return list(alone)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456+00:00"),
        ("2026-01-31T12:00:00+05:30", "2026-01-31T06:30:00+00:00"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("20260131T120000Z", "2026-01-31T12:00:00+00:00"),
    ],
)
def test_times_in_every_usual_form(text: str, expected: str) -> None:
    wanted = int(dt.datetime.fromisoformat(expected).timestamp() * 1_000_000)
    assert micros(text) == [wanted]
    assert micros(text, "2026-01-31T12:00:00Z", None)[0] == wanted, "alone or among others"


def test_absent_times_are_the_time_of_receipt() -> None:
    assert micros(None, None) == [NOW_US, NOW_US]
    assert micros("1970-01-01T00:00:01Z", None) == [1_000_000, NOW_US]


@pytest.mark.parametrize(
    "text", ["", "yesterday", "12", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00 UTC+1"]
)
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(ValidationFailed) as failed:
        micros(text)
    assert failed.value.details == {"field": "timestamp"}


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)))
def test_a_time_is_read_exactly(time: dt.datetime) -> None:
    expected = (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    assert micros(time.isoformat()) == micros(time.isoformat().replace("+00:00", "Z")) == [expected]


def test_quarantine_begins_just_beyond_the_limits() -> None:
    settings = IngestSettings(max_past_s=100, max_future_s=10)
    times = np.array([NOW_US + shift for shift in (-100_000_001, -100_000_000, 0, 10_000_000, 10_000_001)])
    assert json_rows.quarantined(times, np.full(5, NOW_US), settings).tolist() == [1, 0, 0, 0, 1]


def nested(depth: int) -> bytes:
    return b'{"events": [{"metadata": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}]}"


def test_nesting_is_counted_without_brackets_in_texts() -> None:
    json_rows.check_nesting(nested(61), 1, 64)
    json_rows.check_nesting(b'{"events": [{"metadata": {"a": "' + b"[{" * 500 + b'\\"[' + b'"}}]}', 1, 64)
    with pytest.raises(InvalidArgument):
        json_rows.check_nesting(nested(70), 1, 64)
    with pytest.raises(InvalidArgument):
        json_rows.check_nesting(b"[" * 10_000, 1, 64)


def test_only_utf8_passes() -> None:
    json_rows.check_utf8("ünïcode \U0001f600".encode())
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"abc\xe2\x82"):
        with pytest.raises(InvalidArgument):
            json_rows.check_utf8(bad)


@pytest.mark.parametrize(
    ("headers", "sdk"),
    [({}, ""), ({"user-agent": "python-httpx/0.28 (linux)"}, "python-httpx/0.28"), ({"user-agent": "x", "x-millstream-sdk": "web/2"}, "web/2")],
)
def test_the_sdk_of_a_request(headers: dict[str, str], sdk: str) -> None:
    assert json_rows.sdk_of(headers) == sdk


def test_a_stream_is_one_batch() -> None:
    columns = {"time": json_rows.micros_column(np.array([5, 3, 5, 3])), "unit": pa.array(list("abcd"))}
    with pa.ipc.open_stream(stream(columns)) as reader:
        assert [batch.to_pydict()["unit"] for batch in reader] == [list("abcd")]

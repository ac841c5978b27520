"""Files of telemetry are read part by part: none too large, each behind the one before, and a failure is not taken for the end."""

from collections.abc import Mapping
from typing import Any

import pytest

from infra.runtime.errors import Unavailable
from query_api.domain.telemetry_export import Form, columns_of, exported
from query_api.readers.telemetry import TelemetryFilter
from tests.unit.query_api.parts import ScriptedRows

STORED = 2_500


class Table:
    """`STORED` events, one each microsecond, with so many characters of metadata."""

    def __init__(self, characters: int = 10, away_behind_us: int = STORED) -> None:
        self.rows = ScriptedRows(self._answer)
        self._metadata = f'{{"x":"{"y" * characters}"}}'
        self._away_behind_us = away_behind_us

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Where each part that was asked for begins, and how many events it may have."""
        return [(params.get("place_us", -1), params["limit"]) for _, params in self.rows.asked if "limit" in params]

    def _answer(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert params["tenant"] == "acme"
        if "limit" not in params:
            return [{"total": STORED, "latest_us": STORED - 1}]
        first = params.get("place_us", -1) + 1
        if first > self._away_behind_us:
            raise Unavailable("ClickHouse cannot be reached; try again")
        last = min(first + params["limit"], params["before_us"])
        event = {"event_name": "a.b", "experiment": "", "measurements": "", "metadata": self._metadata, "extra": ""}
        return [{**event, "event_id": str(number), "time_us": number} for number in range(first, last)]

    async def file(self, form: Form) -> list[bytes]:
        return [piece async for piece in exported(self.rows, "acme", TelemetryFilter(), form, columns_of(["id", "event_name"]))]


async def test_every_event_is_in_the_file_once_and_in_order() -> None:
    table = Table()
    lines = b"".join(await table.file("csv")).decode().split("\r\n")
    assert lines == ["id,event_name", *(f"{number},a.b" for number in range(STORED)), ""]
    assert table.parts == [(-1, 1_000), (999, 10_000)]


async def test_parts_of_large_events_have_fewer() -> None:
    table = Table(characters=40_000)
    pieces = await table.file("jsonl")
    assert b"".join(pieces).count(b"\n") == STORED
    assert {limit for _, limit in table.parts[1:]} == {199}


@pytest.mark.parametrize(("away_behind_us", "pieces"), [(-1, 0), (5, 1)])
async def test_a_failure_ends_the_file_without_its_end(away_behind_us: int, pieces: int) -> None:
    file = exported(Table(away_behind_us=away_behind_us).rows, "acme", TelemetryFilter(), "json", columns_of(None))
    got = []
    with pytest.raises(Unavailable):
        async for piece in file:
            got.append(piece)
    assert len(got) == pieces and not b"".join(got).endswith(b"]\n")

"""Statistics of a model on a real engine: which events are requests, which of them failed, and what they add up to. Row crucible.models.statistics."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import Settings
from query_api.readers.model_statistics import ModelFigures, ModelStatisticsReader
from query_api.readers.rows import ClickHouseRows
from schemas.tables.telemetry import TELEMETRY
from streams.rows import insert_rows
from tests.contract.clickhouse import Server

S = 1_000_000
HOUR = 3_600 * S
NOW = 1_767_225_600 * S
"""2026-01-01."""
NOTHING: tuple[Any, ...] = ("", None, False, 0, {}, [])
"""What says that there was no error."""


class Case(NamedTuple):
    """One event that names a model of its own."""

    name: str
    measurements: dict[str, Any]
    metadata: dict[str, Any]
    request: bool = True
    reason: str | None = None
    latency: float | None = None
    tokens: int = 0


CASES = (
    Case("crucible.model.inference", {"duration_ms": 234, "tokens": 150}, {}, latency=234, tokens=150),
    Case("inference", {}, {}),
    Case("a.inference.stop", {"duration": 12.5}, {}, latency=12.5),
    Case("a.request.stop", {"latency_ms": 3, "duration": 99}, {}, latency=3),
    Case("a.prediction.stop", {"duration_ms": 0, "latency_ms": 7}, {}, latency=0),
    Case("anything.else", {"latency_ms": 3}, {}, latency=3),
    Case("anything.else", {"duration": 3, "tokens": 5}, {}, request=False),
    Case("noinference", {}, {}, request=False),
    Case("a.inference.started", {}, {}, request=False),
    Case("a.inference.start", {"duration_ms": 3}, {}, request=False),
    Case("start", {"duration_ms": 3}, {}, request=False),
    Case("a.inference.exception", {}, {}, reason="error"),
    Case("a.request.exception", {"duration_ms": 9}, {"error_type": "rate_limit", "error": "slow down"}, reason="rate_limit", latency=9),
    Case("a.exception", {}, {"error": "x"}, request=False),
    Case("inference", {}, {"error": "timeout"}, reason="timeout"),
    Case("inference", {}, {"error": "a message " * 20}, reason="error"),
    Case("inference", {}, {"error": {"code": 1}}, reason="error"),
    Case("inference", {}, {"error": True}, reason="error"),
    Case("inference", {}, {"error_type": 429}, reason="429"),
    Case("inference", {}, {"error_type": "x" * 300}, reason="x" * 100),
    *(Case("inference", {}, {"error": none, "error_type": none}) for none in NOTHING),
    *(Case("inference", {}, {"status": status}, reason="error") for status in ("error", "failed", "Timeout")),
    Case("inference", {}, {"status": "ok"}),
    Case("inference", {"total_tokens": 7, "prompt_tokens": 1}, {}, tokens=7),
    Case("inference", {"prompt_tokens": 3, "completion_tokens": 4, "input_tokens": 100}, {}, tokens=7),
    Case("inference", {"completion_tokens": 4}, {}, tokens=4),
    Case("inference", {"input_tokens": 5, "output_tokens": 6}, {}, tokens=11),
    Case("inference", {"tokens": -5, "duration_ms": "soon"}, {}),
    Case("inference", {"tokens": 1e30}, {}, tokens=10**12),
)


def _row(id: str, name: str, measurements: Any, metadata: Any, at: int = NOW - S, **more: Any) -> dict[str, Any]:
    return {
        "tenant": "t", "event_name": name, "experiment": "", "event_id": id, "keyed": 1, "time": at / S, "received": at / S, "quarantined": 0,
        "measurements": json.dumps(measurements) if measurements is not None else "", "metadata": json.dumps(metadata), "extra": "", **more,
    }  # fmt: skip


def _shared() -> list[dict[str, Any]]:
    """Events of the model `model_1`, called `GPT Ä`."""
    one, timed = {"model": "gpt ä"}, {"duration_ms": 10}
    rows = [_row(f"n{number}", "inference", {"duration_ms": number**2, "tokens": number}, one) for number in range(100)]
    rows += [_row("by id", "inference", None, {"model_id": "model_1"}), _row("by name", "inference", None, {"model_id": "GPT Ä"})]
    # Sent again, the last time as a failure; the same in a block of another day.
    rows += [_row("again", "inference", timed, one, received=NOW / S + second) for second in range(3)]
    rows += [_row("again", "inference", timed, {**one, "error": "late"}, received=NOW / S + 86_400)]
    rows += [_row(f"edge {at}", "inference", None, one, at) for at in (NOW, NOW + 1, NOW - HOUR, NOW - HOUR - 1, NOW - 20 * HOUR)]
    rows += [_row("received before", "inference", None, one, received=(NOW - 24 * HOUR) / S)]
    rows += [_row("quarantined", "inference", timed, one, quarantined=1), _row("other", "inference", timed, one, tenant="other")]
    rows += [_row("MODEL_1", "inference", timed, {"model": "MODEL_1"}), _row("part", "inference", timed, {"model": "gpt"})]
    rows += [_row("number", "inference", timed, {"model": 1}), _row("none", "inference", timed, {})]
    return rows


@pytest.fixture
async def stored(server: Server, writer: ClickHouse) -> AsyncIterator[ModelStatisticsReader]:
    for sql in TELEMETRY.create(100, 36_500):
        await writer.command(sql)
    rows = [_row(f"case {number}", case.name, case.measurements, {"model": f"m{number}", **case.metadata}) for number, case in enumerate(CASES)]
    for part, each in enumerate((rows, _shared())):
        await insert_rows(writer, "telemetry", each, token=f"statistics {part}")
    reader = ClickHouseRows(Settings().clickhouse.model_copy(update={"url": server.url, "reader_user": server.reader, "database": "suite"}))
    yield ModelStatisticsReader(reader, 24 * HOUR)
    await reader.close()
    await writer.command("DROP TABLE telemetry")


async def test_each_event_counts_for_what_it_says(stored: ModelStatisticsReader) -> None:
    for number, case in enumerate(CASES):
        found = await stored.figures("t", "none", f"M{number}", NOW - HOUR, NOW)
        latency, tokens = (case.latency, case.tokens) if case.request else (None, 0)
        reasons = {case.reason: 1} if case.reason else {}
        assert found == ModelFigures(int(case.request), len(reasons), latency, latency, latency, tokens, reasons), case


async def test_together_once_each_and_within_the_period(stored: ModelStatisticsReader) -> None:
    found = await stored.figures("t", "model_1", "GPT Ä", NOW - HOUR, NOW)
    # Numbered, by id, by name, sent again, both ends of the period, and one that was ahead of its clock.
    latencies = [*(number**2 for number in range(100)), 10]
    assert (found.requests, found.failures, found.tokens, found.reasons) == (100 + 1 + 1 + 1 + 2 + 1, 1, 4950, {"late": 1})
    assert found.mean_ms == pytest.approx(np.mean(latencies))
    assert [found.median_ms, found.p99_ms] == pytest.approx(np.quantile(latencies, [0.5, 0.99]))
    assert (await stored.figures("t", "model_1", "GPT Ä", NOW - 24 * HOUR, NOW)).requests == found.requests + 2
    assert (await stored.figures("other", "model_1", "GPT Ä", NOW - HOUR, NOW)).requests == 1
    nothing = ModelFigures(0, 0, None, None, None, 0, {})
    assert await stored.figures("t", "model_2", "somebody's", NOW - HOUR, NOW) == nothing

"""Recomputing a past range gives the same rows."""

import time
from typing import Any

import httpx
import pytest

from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from query_api.readers.minutes import minutes_to_compute
from query_api.readers.rows import ClickHouseRows
from schemas.avro import Mark, encode_mark
from schemas.topics import EXPERIMENT_MARKS
from schemas.windows import MINUTE_US, Grain, window_start
from tests.flow.stack import LiveStack
from tests.support import eventually

EXPERIMENT = "recomputed"
MINUTE = 29_000_000


def _events() -> list[dict[str, Any]]:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(MINUTE * 60 + 5))
    events: list[dict[str, Any]] = []
    for number in range(400):
        arm = "treatment" if number % 2 else "control"
        events.append({"user_id": f"u{number}", "event_type": "exposure", "experiment_id": EXPERIMENT, "variant": arm, "timestamp": when})
        if number % 5 == 0:
            event = {
                "user_id": f"u{number}",
                "event_type": "recomputed_purchase",
                "experiment_id": EXPERIMENT,
                "timestamp": when,
                "metadata": {"value": number / 10},
            }
            events += [event, {**event, "id": f"again{number}"}]
    return events


async def _computed(stack: LiveStack) -> dict[str, str]:
    """When each kind last finished a refresh of the experiment."""
    clickhouse = stack.clickhouse()
    try:
        rows = await clickhouse.query(
            "SELECT kind, toString(at) AS at FROM watermarks FINAL WHERE tenant = 'default' AND subject = {subject:String}", {"subject": EXPERIMENT}
        )
        return {row["kind"]: row["at"] for row in rows}
    finally:
        await clickhouse.aclose()


async def _windows(stack: LiveStack) -> dict[str, list[Any]]:
    async with httpx.AsyncClient(headers=stack.headers) as client:
        found = {}
        for kind in ("assignments", "significance"):
            answer = await client.get(f"{stack.main_url}/platform/v1/windows/{kind}", params={"subject": EXPERIMENT, "limit": 1000})
            assert answer.status_code == 200, answer.text
            found[kind] = [(row["grain"], row["window_start"], row["item"], row["revision"], row["figures"]) for row in answer.json()["data"]]
        return found


async def _mark(settings: Settings, minutes: tuple[int, ...]) -> None:
    producer = Producer(settings.kafka.model_copy(update={"request_timeout_ms": 10_000}))
    await producer.start()
    try:
        mark = Mark("default", EXPERIMENT, "", 0, -1, "", minutes, reason="recompute")
        await producer.send(EXPERIMENT_MARKS.name, encode_mark(mark), key=f"default/{EXPERIMENT}".encode())
    finally:
        await producer.stop()


@pytest.mark.timeout(400)
async def test_the_same_rows_come_out(live: LiveStack) -> None:
    async with httpx.AsyncClient(headers=live.headers) as client:
        answer = await client.post(f"{live.url('experimentation')}/api/v1/events/batch", json={"events": _events()})
    assert answer.status_code == 200 and answer.json()["data"]["failed"] == 0

    async def all_grains() -> dict[str, list[Any]]:
        windows = await _windows(live)
        assert all({row[0] for row in rows} == {"1m", "5m", "1h", "1d", "all"} for rows in windows.values()), windows
        return windows

    before = await eventually(all_grains, timeout=150)
    rows = ClickHouseRows(live.settings.clickhouse)
    named = await minutes_to_compute(rows, "significance", "default", EXPERIMENT, 0, 2 * MINUTE * MINUTE_US)
    await rows.close()
    assert MINUTE in named and set(named) == {window_start(MINUTE * MINUTE_US, grain) // MINUTE_US for grain in Grain if grain is not Grain.ALL}
    computed = await _computed(live)
    await _mark(live.settings, (MINUTE,))

    async def renewed() -> bool:
        now = await _computed(live)
        return all(now[kind] > computed[kind] for kind in ("assignments", "significance"))

    await eventually(renewed, timeout=150)
    after = await _windows(live)
    assert after == before
    purchases = {row[2]: row[4] for row in after["significance"] if row[0] == "all"}
    assert purchases["recomputed_purchase/treatment"]["treatment_units"] == 200

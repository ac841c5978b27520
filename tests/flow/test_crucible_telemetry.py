"""Telemetry of the crucible surface from the door to lists, groups, series and files. Rows crucible.telemetry.*"""

import csv
import io
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from schemas.api_keys import hash_secret
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)
NAME = ["crucible", "model", "inference"]


def at(minutes: float) -> str:
    """So long after a full hour of today or yesterday."""
    return (HOUR + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def event(minutes: float, measurements: Any = None, *, name: Any = NAME, **more: Any) -> dict[str, Any]:
    return {"event_name": name, "measurements": measurements or {}, "timestamp": at(minutes), **more}


class Client:
    """What is sent and read belongs to one experiment; reads see what was sent before."""

    def __init__(self, http: httpx.AsyncClient, experiment: str) -> None:
        self.http = http
        self.experiment = experiment
        self.seen: dict[str, str] = {}

    async def send(self, *events: dict[str, Any]) -> None:
        mine = [{**each, "metadata": {"experiment_id": self.experiment, **each.get("metadata", {})}} for each in events]
        answer = await self.http.post("/telemetry/events", json={"events": mine})
        assert answer.status_code == 202 and answer.json()["data"] == {"accepted": len(events), "rejected": 0}
        self.seen = {"x-millstream-wait-for": answer.headers["x-millstream-position"], "x-millstream-wait-timeout": "60"}

    async def read(self, path: str = "events", status: int = 200, **params: Any) -> Any:
        params = {"filter[experiment_id]": self.experiment, **params}
        answer = await self.http.get(f"/telemetry/{path}", params=params, headers=self.seen)
        assert answer.status_code == status, answer.text
        assert status != 200 or "telemetry:" in answer.headers["x-millstream-watermark"]
        return answer.json()

    async def ids(self, **params: Any) -> list[str]:
        return [each["id"] for each in (await self.read(**params))["data"]]

    async def groups(self, **params: Any) -> list[tuple[Any, Any, int]]:
        return [(each["group"], each["value"], each["count"]) for each in (await self.read(**params))["data"]]

    async def points(self, **params: Any) -> list[tuple[str, Any]]:
        data = (await self.read("aggregate", **params))["data"]
        assert all(set(each) == {"timestamp", "value"} for each in data)
        return [(each["timestamp"], each["value"]) for each in data]

    async def export(self, format: str, fields: list[str] | None = None, **filters: str) -> httpx.Response:
        body = {"format": format, "filters": {"experiment_id": self.experiment, **filters}, **({"fields": fields} if fields else {})}
        answer = await self.http.post("/telemetry/export", json=body, headers=self.seen)
        assert answer.status_code == 200, answer.text
        return answer


@pytest.fixture
async def telemetry(live: LiveStack) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=f"{live.main_url}/crucible/api/v1", headers=live.headers, timeout=70) as http:
        yield Client(http, f"exp_{os.urandom(6).hex()}")


@pytest.fixture
def stranger_key(live: LiveStack) -> str:
    """A key of another tenant."""
    secret = os.urandom(8).hex()
    tenant = f"tenant-{secret}"
    live.define({"kind": "tenant", "id": tenant}, {"kind": "key", "id": "k", "tenant": tenant, "sha256": hash_secret(secret), "role": "admin"})
    address, headers = f"{live.main_url}/crucible/api/v1/telemetry/events", {"Authorization": f"Bearer {secret}"}
    eventually_sync(lambda: httpx.get(address, headers=headers).status_code == 200)
    # Ingest follows the definitions by itself.
    eventually_sync(lambda: httpx.post(address, headers=headers, json={"events": []}).status_code != 401)
    return secret


async def test_an_event_is_read_as_it_was_sent(telemetry: Client) -> None:
    """crucible.telemetry.query, crucible.telemetry.ingest"""
    await telemetry.send(
        event(1.0000021, {"duration_ms": 234, "nested": {"rate": 0.25}}, id="whole", metadata={"model": "gpt-4", "note": '日本 " ,'}, surprise=[1, None]),
        {"event_name": "run", "timestamp": at(0), "id": "least"},
    )
    answer = await telemetry.read()
    assert answer == {
        "data": [
            {
                "id": "whole", "event_name": NAME, "measurements": {"duration_ms": 234, "nested": {"rate": 0.25}}, "extra": {"surprise": [1, None]},
                "metadata": {"experiment_id": telemetry.experiment, "model": "gpt-4", "note": "日本 \" ,"}, "timestamp": at(1.0000021),
            },
            {"id": "least", "event_name": ["run"], "measurements": {}, "metadata": {"experiment_id": telemetry.experiment}, "timestamp": at(0)},
        ],
        "meta": {"total": 2, "page": 1, "per_page": 25, "next_cursor": None, "has_more": False},
    }  # fmt: skip
    assert answer["data"][0]["timestamp"].endswith("00126Z")


async def test_an_id_sent_twice_is_one_event_and_the_later_one_counts(telemetry: Client) -> None:
    await telemetry.send(event(1, {"ms": 1}, id="twice"))
    await telemetry.send(event(1, {"ms": 1}, id="twice"), event(2, {"ms": 2}, id="twice", name="other"))
    assert await telemetry.ids() == ["twice", "twice"] and await telemetry.ids(**{"filter[event_name]": "other"}) == ["twice"]
    await telemetry.send(event(9, {"ms": 5}, id="twice"))
    assert [(each["event_name"], each["timestamp"]) for each in (await telemetry.read())["data"]] == [(NAME, at(9)), (["other"], at(2))]
    assert await telemetry.groups(agg="sum", agg_field="ms") == [(None, 7, 2)]
    assert await telemetry.ids(**{"filter[before]": at(2)}) == [], "what it said before is gone"


async def test_filters(telemetry: Client) -> None:
    """crucible.telemetry.query"""
    await telemetry.send(
        event(0, id="a", metadata={"run_id": "run_1", "model": "m'1"}), event(1, id="b", name="train.step", metadata={"run_id": "run_1"}),
        event(2, id="c", metadata={"run_id": 1}), event(2, id="d", name=["train", "step"], metadata={"model": "m'1", "run_id": "run_2"}),
    )  # fmt: skip
    assert await telemetry.ids(**{"filter[event_name]": "train.step"}) == ["d", "b"]
    assert await telemetry.ids(**{"filter[run_id]": "run_1"}) == ["b", "a"] and await telemetry.ids(**{"filter[run_id]": "1"}) == ["c"]
    assert await telemetry.ids(**{"filter[model]": "m'1"}) == ["d", "a"]
    assert await telemetry.ids(**{"filter[after]": at(1), "filter[before]": at(2)}) == ["b"]
    assert await telemetry.ids(**{"filter[after]": at(2)}) == ["d", "c"]
    assert await telemetry.ids(**{"filter[after]": at(2).removesuffix("Z")}) == ["d", "c"], "UTC without an offset"
    assert await telemetry.ids(**{"filter[experiment_id]": "exp_of_nobody"}) == []
    for filters, expected in (({"model": "m'1"}, ["a", "d"]), ({"run_id": "run_1", "event_name": "train.step"}, ["b"]), ({"before": at(1)}, ["a"])):
        assert [each["id"] for each in (await telemetry.export("json", ["id"], **filters)).json()] == expected
    assert (await telemetry.read("events", 200, **{"filter[model]": "m'1", "per_page": 1}))["meta"]["total"] == 2


async def test_pages_neither_repeat_nor_leave_out_while_events_arrive(telemetry: Client) -> None:
    """crucible.telemetry.query, crucible.pagination.cursor"""
    # Equal times, and one id under two names.
    await telemetry.send(*(event(number // 4, id=f"e{number:02}") for number in range(11)), event(1, id="e05", name="another"))
    everything = await telemetry.ids()
    assert everything == ["e10", "e09", "e08", "e07", "e06", "e05", "e05", "e04", "e03", "e02", "e01", "e00"]
    assert await telemetry.ids(per_page=5, page=2) == everything[5:10] and await telemetry.ids(per_page=5, page=3) == everything[10:]
    assert await telemetry.ids(per_page=5, page=4) == []
    for per_page in (1, 5, 6):
        found: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await telemetry.read(per_page=per_page, **cursor)
            found += [each["id"] for each in page["data"]]
            if not page["meta"]["has_more"]:
                break
            cursor = {"cursor": page["meta"]["next_cursor"]}
            await telemetry.send(event(30, id=f"late{per_page}{len(found)}"))
        assert [id for id in found if not id.startswith("late")] == everything, per_page
        await telemetry.read(status=422, page=2, **cursor)


async def test_groups(telemetry: Client) -> None:
    """crucible.telemetry.query"""
    sent: tuple[tuple[dict[str, Any], Any], ...] = (
        ({"ms": 10}, "gpt-4"),
        ({"ms": 30}, "gpt-4"),
        ({"ms": 5.5, "deep": {"in": 1}, "a.b": 2}, "claude"),
        ({"ms": "9"}, "claude"),
        ({"ms": True}, None),
        ({}, 7),
    )
    await telemetry.send(*(event(number, of, metadata={"model": model, "cost": {"usd": number}}) for number, (of, model) in enumerate(sent)))
    assert await telemetry.groups(agg="count") == [(None, 6, 6)]
    assert await telemetry.groups(agg="count", agg_field="ms") == [(None, 3, 3)]
    assert await telemetry.groups(agg="avg", agg_field="measurements.ms", group_by="metadata.model") == [("gpt-4", 20, 2), ("claude", 5.5, 1)]
    assert await telemetry.groups(agg="count", group_by="model") == [("claude", 2, 2), ("gpt-4", 2, 2), (None, 1, 1), (7, 1, 1)]
    assert await telemetry.groups(agg="count", agg_field="metadata.model") == [(None, 5, 5)]
    assert [await telemetry.groups(agg=agg, agg_field="ms") for agg in ("sum", "min", "max")] == [[(None, 45.5, 3)], [(None, 5.5, 3)], [(None, 30, 3)]]
    assert await telemetry.groups(agg="max", agg_field="metadata.cost.usd", group_by="event_name") == [("crucible.model.inference", 5, 6)]
    assert await telemetry.groups(agg="sum", agg_field="deep.in") == [(None, 1, 1)] and await telemetry.groups(agg="sum", agg_field="a.b") == [(None, 2, 1)]
    assert await telemetry.groups(agg="count", group_by="experiment_id") == [(telemetry.experiment, 6, 6)]
    nothing = {"filter[before]": at(0)}
    assert await telemetry.groups(agg="count", **nothing) == [(None, 0, 0)] and await telemetry.groups(agg="sum", agg_field="ms", **nothing) == [
        (None, None, 0)
    ]
    assert await telemetry.groups(agg="count", group_by="model", **nothing) == []


async def test_series(telemetry: Client) -> None:
    """crucible.telemetry.aggregate"""
    await telemetry.send(*(event(minute, {"ms": of}) for minute, of in ((0, 1), (0.99999, 2), (1, 4), (61, 3), (62, None), (63, "4"), (63.5, {"x": 1}))))
    assert await telemetry.points(metric="ms", agg="sum", interval="1m") == [(at(0), 3), (at(1), 4), (at(61), 3)]
    assert await telemetry.points(metric="measurements.ms", interval="1h") == [(at(0), pytest.approx(7 / 3)), (at(60), 3)]
    assert await telemetry.points(agg="count", interval="1h") == [(at(0), 3), (at(60), 4)]
    assert await telemetry.points(agg="count", metric="ms", interval="5m", **{"filter[after]": at(1), "filter[before]": at(61)}) == [(at(0), 1)]
    assert await telemetry.points(agg="max", metric="ms", **{"filter[after]": at(1)}) == [(at(1), 4)], "one value at the first event"
    assert sum(value for _, value in await telemetry.points(agg="count", interval="1d")) == 7
    assert all(start.endswith("T00:00:00Z") for start, _ in await telemetry.points(agg="count", interval="1d"))
    assert await telemetry.points(agg="avg", metric="nothing", interval="1d") == []


async def test_percentiles_are_exact(telemetry: Client) -> None:
    """crucible.telemetry.aggregate"""
    await telemetry.send(*(event(number / 100, {"ms": number}, metadata={"even": number % 2 == 0}) for number in range(1, 101)))
    found = {agg: await telemetry.points(metric="ms", agg=agg, interval="1h") for agg in ("p50", "p95", "p99")}
    assert found == {"p50": [(at(0), 51)], "p95": [(at(0), 96)], "p99": [(at(0), 100)]}
    data = (await telemetry.read("aggregate", metric="ms", agg="max", interval="1h", group_by="metadata.even"))["data"]
    assert data == [{"timestamp": at(0), "group": False, "value": 99}, {"timestamp": at(0), "group": True, "value": 100}]


async def test_an_absurd_time_is_listed_and_in_no_value(telemetry: Client) -> None:
    await telemetry.send(event(0, {"ms": 1}, id="now"), {**event(0, {"ms": 2}, id="long ago"), "timestamp": "1990-01-01T00:00:00Z"})
    assert await telemetry.ids() == ["now", "long ago"]
    assert await telemetry.points(metric="ms", agg="sum") == [(at(0), 1)] and await telemetry.groups(agg="count") == [(None, 1, 1)]


async def test_more_values_than_an_answer_holds_are_refused(telemetry: Client) -> None:
    for part in range(2):
        await telemetry.send(*(event(0, metadata={"n": part * 5_001 + number}) for number in range(5_001)))
    for path, params, cause in (("events", {}, "group_by"), ("aggregate", {"interval": "1h"}, "interval")):
        error = (await telemetry.read(path, 422, agg="count", group_by="n", **params))["error"]
        assert list(error["details"]) == [cause] and "more than 10000 values; narrow `filter[after]`" in error["message"]
    assert await telemetry.points(agg="count") == [(at(0), 10_002)]
    lines = (await telemetry.export("jsonl", ["id"])).text.splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == 10_002, "an export has no limit"
    assert [each["id"] for each in (await telemetry.export("json", ["id"])).json()] == [json.loads(line)["id"] for line in lines]


async def test_files(telemetry: Client) -> None:
    """crucible.telemetry.export"""
    quoted = '=1+1, "quoted"\nand another line'
    await telemetry.send(
        event(2, {"ms": 1.5, "deep": {"in": [1, 2]}}, id="b", metadata={"text": quoted, "flag": True}),
        event(1, {"ms": None}, id="a", name="run"), event(0, id="out"),
    )  # fmt: skip
    fields = ["timestamp", "event_name", "measurements.ms", "measurements.deep", "metadata.text", "metadata.flag", "id"]
    rows = [(at(1), "run", "", "", "", "", "a"), (at(2), "crucible.model.inference", "1.5", '{"in":[1,2]}', quoted, "true", "b")]
    answer = await telemetry.export("csv", fields, after=at(1))
    assert answer.headers["content-type"].startswith("text/csv") and "telemetry:" in answer.headers["x-millstream-watermark"]
    assert answer.headers["content-disposition"].startswith("attachment;") and answer.headers["content-disposition"].endswith("telemetry.csv")
    assert list(csv.reader(io.StringIO(answer.text, newline=""), strict=True)) == [fields, *map(list, rows)]
    assert answer.content.startswith(b"timestamp,event_name,") and answer.content.count(b"\r\n") == 3
    values: list[list[Any]] = [[at(1), ["run"], None, None, None, None, "a"], [at(2), NAME, 1.5, {"in": [1, 2]}, quoted, True, "b"]]
    expected = [dict(zip(fields, row, strict=True)) for row in values]
    assert (await telemetry.export("json", fields, after=at(1))).json() == expected
    assert [json.loads(line) for line in (await telemetry.export("jsonl", fields, after=at(1))).text.splitlines()] == expected
    whole = (await telemetry.export("json", before=at(1))).json()
    mine = {"experiment_id": telemetry.experiment}
    assert whole == [{"timestamp": at(0), "event_name": NAME, "id": "out", **mine, "measurements": {}, "metadata": mine}]
    assert (await telemetry.export("json", event_name="nothing")).json() == [] and (await telemetry.export("jsonl", run_id="nothing")).text == ""
    assert (await telemetry.export("csv", ["id"], event_name="nothing")).content == b"id\r\n"


async def test_json_goes_out_as_it_came(telemetry: Client) -> None:
    """Numbers that no double holds, and the ends of lines of an object that was written over several."""
    raw = f'{{"events": [{{"event_name": "n", "timestamp": "{at(0)}", "metadata": {{"experiment_id": "{telemetry.experiment}"}},'.encode()
    sent = await telemetry.http.post(
        "/telemetry/events",
        content=raw + b'"measurements": {\n  "n": 123456789012345678901234567890,\n "x": 1.10\n}}]}',
        headers={"content-type": "application/json"},
    )
    telemetry.seen = {"x-millstream-wait-for": sent.headers["x-millstream-position"], "x-millstream-wait-timeout": "60"}
    assert (await telemetry.read())["data"][0]["measurements"]["n"] == 123456789012345678901234567890
    lines = (await telemetry.export("jsonl", ["measurements", "measurements.n"])).text.splitlines()
    assert lines == ['{"measurements":{"n":123456789012345678901234567890,"x":1.10},"measurements.n":123456789012345678901234567890}']
    assert (await telemetry.export("csv", ["measurements.x"])).text.splitlines() == ["measurements.x", "1.10"]


async def test_another_tenant_sees_nothing(telemetry: Client, stranger_key: str) -> None:
    await telemetry.send(event(0, {"ms": 1}, id="secret"))
    async with httpx.AsyncClient(base_url=telemetry.http.base_url, headers={"Authorization": f"Bearer {stranger_key}"}, timeout=70) as http:
        stranger = Client(http, telemetry.experiment)
        stranger.seen = telemetry.seen
        assert await stranger.ids() == [] and await stranger.points(agg="count") == [] and (await stranger.export("json")).json() == []
        # The same id of another tenant is another event.
        await stranger.send(event(1, {"ms": 5}, id="secret"))
        assert await stranger.groups(agg="sum", agg_field="ms") == [(None, 5, 1)]
    assert await telemetry.groups(agg="sum", agg_field="ms") == [(None, 1, 1)]

"""Sending a file: batches, idempotency, refused lines, retries."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.cli.batches import content_hash, item_of, read_batches
from infra.cli.send import Sender


def _lines(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps({"user_id": f"u{i}", "event_type": "seen"}) + "\n" for i in range(count)))
    return path


class _Platform:
    """Stands in for the door: keeps requests, refuses items without user_id, and first gives the answers it is told to."""

    def __init__(self, *first: httpx.Response | Exception) -> None:
        self.first = list(first)
        self.by_key: dict[str, list[Any]] = {}
        self.requests = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.first:
            answer = self.first.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        assert request.headers["authorization"] == "Bearer k"
        events = json.loads(request.content)["events"]
        self.by_key[request.headers["idempotency-key"]] = events
        errors = [{"index": i, "message": "required", "field": "user_id"} for i, event in enumerate(events) if "user_id" not in event]
        data = {"processed": len(events) - len(errors), "failed": len(errors), "event_ids": [], **({"errors": errors} if errors else {})}
        return httpx.Response(200, json={"data": data}, headers={"X-Millstream-Position": "events:0:7"})

    def sender(self, path: Path, concurrency: int = 4) -> Sender:
        return Sender(path, "http://platform/door", "k", concurrency, httpx.MockTransport(self))


async def test_a_file_goes_in_batches_and_the_same_file_has_the_same_keys(tmp_path: Path) -> None:
    path = _lines(tmp_path / "a.jsonl", 1_201)
    platform = _Platform()
    report = await platform.sender(path).run()
    assert (report.sent, report.stored, report.batches, report.position) == (1_201, 1_201, 3, "events:0:7")
    assert sorted(len(events) for events in platform.by_key.values()) == [201, 500, 500]
    before = dict(platform.by_key)
    await platform.sender(path, 1).run()
    assert platform.by_key == before and platform.requests == 6
    copy = tmp_path / "b.jsonl"
    copy.write_bytes(path.read_bytes())
    assert content_hash(copy) == content_hash(path)


async def test_refused_lines_are_named_by_their_number_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"user_id":"a","event_type":"x"}\n\nnot json\n[1]\n{"event_type":"x"}\n{"user_id":"b","event_type":"x"}')
    report = await _Platform().sender(path).run()
    assert report.stored == 2
    assert [(each.line, each.field) for each in report.refused] == [(3, ""), (4, ""), (5, "user_id")]


async def test_a_platform_that_is_full_or_away_is_waited_for(tmp_path: Path) -> None:
    full = httpx.Response(503, json={"error": {"code": "overloaded", "message": "full", "details": {}}})
    platform = _Platform(httpx.ConnectError("refused"), full)
    report = await platform.sender(_lines(tmp_path / "a.jsonl", 3)).run()
    assert report.stored == 3 and platform.requests == 3 and not report.problem


async def test_a_refusal_stops_and_says_why(tmp_path: Path) -> None:
    refusal = httpx.Response(401, json={"error": {"code": "UNAUTHORIZED", "message": "No valid API key.", "details": {}}})
    report = await _Platform(refusal).sender(_lines(tmp_path / "a.jsonl", 3), 1).run()
    assert report.stored == 0 and "401" in report.problem and "No valid API key." in report.problem


async def test_ctrl_c_finishes_what_is_under_way(tmp_path: Path) -> None:
    platform = _Platform()

    async def interrupted(request: httpx.Request) -> httpx.Response:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10):  # the loop looks at its signals between two steps
            await asyncio.sleep(0)
        return platform(request)

    path = _lines(tmp_path / "a.jsonl", 5_000)
    report = await Sender(path, "http://platform/door", "k", 1, httpx.MockTransport(interrupted)).run()
    assert report.interrupted and not report.problem
    assert report.stored == 500 * report.batches == 500 * platform.requests < 5_000


def test_csv_columns_become_events(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        '\ufeffuser_id,event_type,experiment_id,variant,timestamp,value,metadata.plan,note\nann,purchase,e1,,2026-01-01T00:00:00Z,3.5,pro,"two\nlines"\nbob,seen\n',
        encoding="utf-8",
    )
    (batch,) = read_batches(path, 500)
    assert [json.loads(item) for item in batch.items] == [
        {
            "user_id": "ann",
            "event_type": "purchase",
            "experiment_id": "e1",
            "timestamp": "2026-01-01T00:00:00Z",
            "metadata": {"value": 3.5, "plan": "pro"},
            "note": "two\nlines",
        }
    ]
    assert [refused.line for refused in batch.refused] == [4]


def test_numbers_stay_numbers_only_where_they_are_meant() -> None:
    assert item_of({"user_id": "007", "value": "1e3", "metadata.code": "007", "measurements.ms": "12", "metadata.on": "true"}) == {
        "user_id": "007",
        "metadata": {"value": 1000.0, "code": "007", "on": True},
        "measurements": {"ms": 12},
    }


def test_json_lines_go_out_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('  {"a": 1.10, "b": 12345678901234567890}\n')
    (batch,) = read_batches(path, 500)
    assert batch.items == [b'{"a": 1.10, "b": 12345678901234567890}'] and batch.lines == [1]


def test_a_csv_file_needs_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("")
    with pytest.raises(ValueError, match="name the columns"):
        list(read_batches(path, 500))

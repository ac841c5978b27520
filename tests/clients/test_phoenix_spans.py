"""Spans, traces and sessions through the unmodified Python client of Arize Phoenix."""

import os
import uuid
from pathlib import Path

from tests.clients.phoenix_scripts import answer_of
from tests.flow.stack import KEY, LiveStack


def test_spans_traces_and_sessions(live: LiveStack, phoenix_python: Path) -> None:
    project, first, second = f"client {uuid.uuid4().hex}", os.urandom(16).hex(), os.urandom(16).hex()
    given = {"project": project, "traces": [first, second], "client": {"base_url": live.url("llm"), "api_key": KEY}}
    shown = answer_of(phoenix_python, "spans", given)
    assert shown["logged"] == {"total_received": 3, "total_queued": 3} == shown["copied"]
    assert shown["refused"] == [1, 1, [f"{int(first[:8], 16):08x}00000001"]] and shown["naive"] == [1, True]
    assert shown["names"] == ["turn", "call", "turn"]
    assert shown["filtered"] == [["turn"], ["call"], ["turn", "turn"], ["call"], ["turn"], ["turn"], ["call"], ["turn"]]
    assert shown["traces"] == [[second, first], [second, first], [first], [second], [first], []]
    assert [span["name"] for span in shown["trace"]["spans"]] == ["turn", "call"] and shown["trace"]["token_count_total"] == 7
    assert shown["session"]["session_id"] == project and [trace["trace_id"] for trace in shown["session"]["traces"]] == [first, second]
    assert shown["sessions"] == [project] and shown["turns"] == [["hello", "hi"], ["bye", None]]
    assert shown["left"] == ["turn", "turn"] and shown["gone"] == 404 and shown["empty"] == [[], []]
    assert shown["copies"] == [0, 2], "both projects had the session"

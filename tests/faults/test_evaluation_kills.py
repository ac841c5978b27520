"""Online evaluation while workers are killed: every span that a rule applies to has exactly one evaluation and one annotation."""

import asyncio
from typing import Any

from infra.runtime.clickhouse import ClickHouse
from tests.faults.oracle import drained
from tests.flow.llm_client import llm_client, new_trace, now, otlp_span
from tests.flow.model_server import Reply, model_server
from tests.flow.stack import LiveStack
from tests.support import eventually

PROJECT = "evaluation kills"
REQUESTS, SPANS = 40, 75
POINTS = ("queued", "judged", "answered")
"""After tasks were queued but not what code said; after both but before the mark is acknowledged; after a model's answer but before its task is committed."""

_FOUND = """
SELECT rule, uniqExact(trace_id, span_id) AS spans, count() AS n, countIf(outcome = 'judged') AS judged
FROM evaluations FINAL WHERE project = {project:String} GROUP BY rule
"""
_ANNOTATED = """
SELECT identifier AS rule, uniqExact(trace_id, target_id) AS spans, count() AS n
FROM annotations FINAL WHERE source = 'RULE' AND deleted = 0 AND trace_id IN {traces:Array(String)} GROUP BY rule
"""


async def test_every_matching_span_is_judged_once(stack: LiveStack) -> None:
    traces = [new_trace() for _ in range(REQUESTS)]
    with model_server(lambda *_: Reply("yes")) as model:
        judge = {"type": "judge", "base_url": model.base_url, "model": "m", "prompt": "{{output}}", "choices": {"yes": 1, "no": 0}, "concurrency": 8}
        judge |= {"budget": {"calls_per_minute": 100_000}}
        rules: tuple[dict[str, Any], ...] = (
            {"id": "code", "annotation": "code", "evaluator": {"type": "contains", "texts": ["even"]}, "filter": "name != 'left out'"},
            {"id": "model", "annotation": "model", "evaluator": judge, "filter": "name == 'judged'"},
        )
        await asyncio.to_thread(stack.define, *({"kind": "evaluation_rule", "project": PROJECT, **rule} for rule in rules))
        await asyncio.to_thread(stack.remove_worker, stack.workers[0])
        async with llm_client(stack) as client:
            for number, trace in enumerate(traces):
                await client.send(PROJECT, *(_span(trace, place) for place in range(SPANS)))
                if number % 12 == 11:
                    armed = stack.add_worker({"MILLSTREAM_FAILPOINT": f"{POINTS[number // 12]}:1"}, ready=False)
                    assert await asyncio.to_thread(stack.wait_end, armed, 90.0) == -9, stack.log(armed)[-1_000:]
            await asyncio.to_thread(stack.add_worker)
        await drained(stack, ("spans",))
        clickhouse = stack.clickhouse()
        try:
            await eventually(lambda: _exact(clickhouse, traces), timeout=90.0, interval=0.5)
        finally:
            await clickhouse.aclose()
        assert REQUESTS * 3 <= len(model.calls) <= REQUESTS * 6, "a call is repeated only when a worker died before its answer was stored"


async def _exact(clickhouse: ClickHouse, traces: list[str]) -> bool:
    expected = {"code": REQUESTS * (SPANS - 5), "model": REQUESTS * 3}
    found = await clickhouse.query(_FOUND, {"project": PROJECT})
    assert {row["rule"]: (row["spans"], row["n"], row["judged"]) for row in found} == {rule: (n, n, n) for rule, n in expected.items()}
    annotated = await clickhouse.query(_ANNOTATED, {"traces": traces})
    assert {row["rule"]: (row["spans"], row["n"]) for row in annotated} == {rule: (n, n) for rule, n in expected.items()}
    return True


def _span(trace: str, place: int) -> dict[str, Any]:
    name = "left out" if place < 5 else "judged" if place < 8 else "plain"
    return otlp_span(trace, name, start=now(), span_id=f"{place + 1:016x}", output__value=["even", "odd"][place % 2])

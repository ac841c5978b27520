"""Annotations while a worker dies between an INSERT and its record: every acknowledged one is there, once, with what was said last."""

import asyncio

import httpx

from tests.faults.oracle import drained
from tests.flow.llm_spans import sent, span_json
from tests.flow.stack import LiveStack

SPANS, ROUNDS = 20, 20
PROJECT = "annotation kills"


async def test_annotations_survive_a_kill_once(stack: LiveStack) -> None:
    await asyncio.to_thread(stack.remove_worker, stack.workers[0])
    armed = await asyncio.to_thread(stack.add_worker, {"MILLSTREAM_FAILPOINT": "inserted:9"})
    async with httpx.AsyncClient(base_url=stack.url("llm") + "/v1", headers=stack.headers, timeout=20) as client:
        there = await sent(client, PROJECT, *([{}] * SPANS))
        for number in range(ROUNDS):
            said = {"name": "score", "annotator_kind": "CODE", "result": {"score": number}}
            data = [{**said, "span_id": span_id, "identifier": name} for span_id in there.span_ids for name in ("", f"of round {number}")]
            for _ in range(1 + number % 2):
                answer = await client.post("/span_annotations", json={"data": data})
                assert answer.status_code == 200, answer.text
            feedback = {"annotations.0.annotation.name": "carried", "annotations.0.annotation.score": number}
            carrier = span_json(there.trace_id, f"{number + 1:016x}", feedback)
            for _ in range(2):
                body = {"resourceSpans": [{"scopeSpans": [{"spans": [carrier]}]}]}
                assert (await client.post("/traces", json=body, headers={"x-project-name": PROJECT})).status_code == 200
        assert await asyncio.to_thread(stack.wait_end, armed) == -9
        await asyncio.to_thread(stack.add_worker)
        await drained(stack, ("annotations", "spans"))
        carriers = [f"{number + 1:016x}" for number in range(ROUNDS)]
        answer = await client.get(f"/projects/{PROJECT}/span_annotations", params={"span_ids": [*there.span_ids, *carriers], "limit": 10_000})
    found = sorted((each["span_id"], each["name"], each["identifier"], each["result"]["score"]) for each in answer.json()["data"])
    expected = [(span_id, "score", "", float(ROUNDS - 1)) for span_id in there.span_ids]
    expected += [(span_id, "score", f"of round {number}", float(number)) for span_id in there.span_ids for number in range(ROUNDS)]
    expected += [(span_id, "carried", "", float(number)) for number, span_id in enumerate(carriers)]
    assert found == sorted(expected)

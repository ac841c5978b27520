"""Kill -9 of everything in turn while 100,000 LLM spans are sent: every acknowledged span is there, once."""

import asyncio
import itertools
import time
from collections import Counter

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.bench.llm_spans import PROJECT, SPANS, Requests
from tests.faults.oracle import drained
from tests.flow.stack import LiveStack
from tests.support import eventually

TOTAL = 100_000
CONNECTIONS = 4

_STORED = """
SELECT trace_id, span_id, count() AS n
FROM spans FINAL WHERE project = {project:String} AND received >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') GROUP BY trace_id, span_id
"""


class Sender:
    """Sends requests of LLM spans, each until it is acknowledged."""

    def __init__(self, stack: LiveStack) -> None:
        self.acknowledged: set[tuple[str, str]] = set()
        """Trace and span ids."""
        self.answers: Counter[int] = Counter()
        self._stack = stack
        self._requests = Requests(4)
        self._numbers = itertools.count()

    async def send(self) -> None:
        """One connection of several."""
        headers = {**self._stack.headers, "Content-Type": "application/x-protobuf"}
        async with httpx.AsyncClient(base_url=self._stack.url("otlp_http"), headers=headers, timeout=15.0) as client:
            while next(self._numbers) < TOTAL // SPANS:
                body = self._requests.body(time.time_ns())
                while not await self._accepted(client, body):
                    await asyncio.sleep(0.2)
                for scope in ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans:
                    self.acknowledged |= {(span.trace_id.hex(), span.span_id.hex()) for span in scope.spans}

    async def _accepted(self, client: httpx.AsyncClient, body: bytes) -> bool:
        try:
            answer = await client.post("/v1/traces", content=body)
        except httpx.TransportError:
            self.answers[0] += 1
            return False
        self.answers[answer.status_code] += 1
        return answer.status_code == 200

    async def more(self, share: float) -> None:
        """Wait until so much of everything is acknowledged."""
        await eventually(lambda: len(self.acknowledged) >= share * TOTAL, timeout=120)


async def test_every_acknowledged_llm_span_is_there_once(stack: LiveStack) -> None:
    began = time.time_ns() // 1_000
    sender = Sender(stack)
    sending = asyncio.gather(*(sender.send() for _ in range(CONNECTIONS)))
    await sender.more(0.1)
    stack.kill(stack.workers[0])
    await asyncio.to_thread(stack.add_worker)
    await sender.more(0.3)
    stack.parts.kill_engine()
    await asyncio.to_thread(stack.parts.start_engine)
    await sender.more(0.5)
    stack.kill("ingest")
    await asyncio.to_thread(stack.restart, "ingest")
    await sender.more(0.7)
    stack.parts.kill_kafka()
    await asyncio.to_thread(stack.parts.start_kafka)
    await asyncio.wait_for(sending, 180)
    assert sender.answers.keys() <= {0, 200, 503}
    assert len(sender.acknowledged) == TOTAL
    await drained(stack, ("spans",))
    clickhouse = stack.clickhouse()
    try:
        rows = await clickhouse.query(_STORED, {"project": PROJECT, "since": began}, timeout=60)
    finally:
        await clickhouse.aclose()
    found = {(str(row["trace_id"]), str(row["span_id"])) for row in rows}
    lost, strange = sender.acknowledged - found, found - sender.acknowledged
    assert not lost, f"{len(lost)} of {TOTAL} acknowledged spans are not stored, such as {sorted(lost)[:3]}"
    assert not strange, f"{len(strange)} stored spans were never sent, such as {sorted(strange)[:3]}"
    assert {int(row["n"]) for row in rows} == {1}, "a span is read twice"

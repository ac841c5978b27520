"""LLM spans to counted, against Arize Phoenix: the same requests from the same generator, one system after the other in one run."""

import asyncio
import time
from pathlib import Path
from typing import Final

from infra.runtime.clickhouse import ClickHouse
from tests.bench import load, peer
from tests.bench.figures import Figure, Figures, tell
from tests.bench.llm_spans import PROJECT, SPANS, Requests
from tests.bench.references import wait_for_rows
from tests.bench.stack import BenchStack, running

CONNECTIONS: Final = 16
WARM_UP: Final = 40
MEASURED: Final = 600
"""Requests to this system."""
PEER_WARM_UP: Final = 1
PEER_MEASURED: Final = 16
"""Requests to the peer, whose queue takes 20,000 spans."""
PEER_DEADLINE_S: Final = 240.0


def prepared(requests: Requests, count: int, key: str) -> list[bytes]:
    """So many HTTP requests, their traces spread over the time it takes to make them."""
    return [load.request("/v1/traces", requests.body(time.time_ns()), key, "application/x-protobuf") for _ in range(count)]


async def _ours(stack: BenchStack, requests: Requests) -> tuple[float, load.Outcome, float, float]:
    """Spans per second from the first request to the last row counted, what the generator saw, and bytes a span in `spans` and in Kafka."""
    clickhouse = stack.clickhouse()
    port = stack.ports["llm"]
    await load.run("127.0.0.1", port, prepared(requests, WARM_UP, stack.key), WARM_UP, CONNECTIONS)
    await wait_for_rows(clickhouse, "spans", WARM_UP * SPANS)
    ready = prepared(requests, MEASURED, stack.key)
    tell(f"sending {MEASURED * SPANS} spans to Millstream")
    outcome = await load.run("127.0.0.1", port, ready, MEASURED, CONNECTIONS)
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"not every request was acknowledged: {outcome.statuses}")
    waited = await wait_for_rows(clickhouse, "spans", (WARM_UP + MEASURED) * SPANS)
    on_disk = await _bytes_of_spans(clickhouse)
    await clickhouse.aclose()
    in_kafka = sum(file.stat().st_size for file in Path(stack.folder).rglob("kafka/**/spans-*/*.log"))
    return MEASURED * SPANS / (outcome.seconds + waited), outcome, on_disk, in_kafka / ((WARM_UP + MEASURED) * SPANS)


async def _bytes_of_spans(clickhouse: ClickHouse) -> float:
    """Of a stored span, indexes included, once merges are done."""
    await clickhouse.command("OPTIMIZE TABLE spans FINAL", timeout=300)
    sql = "SELECT sum(bytes_on_disk) AS size, sum(rows) AS n FROM system.parts WHERE active AND database = currentDatabase() AND table = 'spans'"
    (found,) = await clickhouse.query(sql)
    return int(found["size"]) / int(found["n"])


def _theirs(requests: Requests) -> tuple[str, float, float]:
    """Version, spans per second from the first request to the last row counted in its database, and bytes a span there."""
    with peer.running() as server:
        empty = server.disk_bytes()
        for measured, count in ((False, PEER_WARM_UP), (True, PEER_MEASURED)):
            ready = prepared(requests, count, "none")
            if measured:
                tell(f"sending {count * SPANS} spans to Arize Phoenix {server.version}")
            started = time.monotonic()
            outcome = asyncio.run(load.run("127.0.0.1", server.port, ready, count, CONNECTIONS))
            if set(outcome.statuses) != {200}:
                raise RuntimeError(f"Arize Phoenix did not acknowledge every request: {outcome.statuses}")
            server.wait_for("spans", (PEER_WARM_UP + count if measured else count) * SPANS, PEER_DEADLINE_S)
            seconds = time.monotonic() - started
        server.stop()
        return server.version, PEER_MEASURED * SPANS / seconds, (server.disk_bytes() - empty) / ((PEER_WARM_UP + PEER_MEASURED) * SPANS)


def llm_spans() -> Figures:
    """Stored spans per second and bytes a stored span, of both."""
    requests = Requests()
    with running() as stack:
        rate, outcome, size, in_kafka = asyncio.run(_ours(stack, requests))
        spent = stack.cpu_seconds()
    version, peer_rate, peer_size = _theirs(requests)
    what = f"{requests.bytes_per_span:.0f} bytes a span as sent (project {PROJECT}: messages, documents, tokens, sessions), requests of {SPANS} spans"
    every = (WARM_UP + MEASURED) * SPANS
    cpu = ", ".join(f"{name} {seconds / every * 1e6:.0f} us" for name, seconds in sorted(spent.items()))
    ours = f"{MEASURED} requests over {CONNECTIONS} connections, all agents running; acknowledged p99 {outcome.percentile(0.99) * 1e3:.0f} ms; CPU a span since start {cpu}"
    theirs = f"Arize Phoenix {version}, SQLite: {PEER_MEASURED * SPANS} spans, {{}}"
    return {
        "llm_spans": Figure(rate, "spans/s", theirs.format(f"{peer_rate:.0f} spans/s"), rate / peer_rate, f"{what}; {ours}"),
        "llm_span_bytes": Figure(
            size, "bytes", theirs.format(f"{peer_size:.0f} bytes a span"), size / peer_size, f"{what}; table and its indexes, merged; Kafka keeps {in_kafka:.0f} bytes more until its retention ends"
        ),
    }  # fmt: skip

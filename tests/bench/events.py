"""A/B events: batches and single posts over HTTP, to counted in ClickHouse."""

import asyncio
import datetime as dt
import random

import msgspec

from infra.runtime.clock import SystemClock, uuid7
from infra.runtime.settings import IngestSettings
from ingest import event_blocks, events
from ingest.json_rows import Received
from schemas.blocks import Block
from schemas.tables.events import EVENTS
from tests.bench import load
from tests.bench.figures import Figure, Figures
from tests.bench.references import bare_insert, wait_for_rows
from tests.bench.stack import BenchStack, running

BATCH = 500
UNITS = 200_000
CONNECTIONS = 128
BATCHES = 4_000
WARM_UP = 200


def bodies(count: int = 60, experiment: str = "bench") -> list[bytes]:
    """Batches of 500 shop events of 200,000 visitors, two variants, half of them purchases; about 230 bytes each."""
    rnd = random.Random(7)
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def event() -> dict[str, object]:
        unit = rnd.randrange(UNITS)
        return {
            "user_id": f"user_{unit}",
            "event_type": rnd.choice(["page_view", "purchase_completed"]),
            "experiment_id": experiment,
            "variant": "treatment" if unit % 2 else "control",
            "timestamp": now,
            "metadata": {
                "value": round(rnd.random() * 100, 2),
                "currency": "USD",
                "product_id": f"prod_{rnd.randrange(10_000)}",
                "page": f"/products/{rnd.randrange(1_000)}",
            },
        }

    return [msgspec.json.encode({"events": [event() for _ in range(BATCH)]}) for _ in range(count)]


def blocks(batches: list[bytes], per_block: int = 30) -> list[Block]:
    """The same batches as ingest would put them into blocks."""
    clock, settings = SystemClock(), IngestSettings()
    received = Received("default", clock.now_us(), "evt_bench_", "bench", "http")
    parts = [events.decode_batch(body, received, settings) for body in batches]
    assemble = event_blocks.assembler(clock, settings)
    return [assemble(parts[first : first + per_block], str(uuid7(clock.now_us()))) for first in range(0, len(parts), per_block)]


async def peak(stack: BenchStack, requests: list[bytes], batches: int) -> tuple[float, load.Outcome]:
    """Events per second from the first request to the last row counted, and what the load generator saw, on a fresh stack."""
    clickhouse = stack.clickhouse()
    port = stack.ports["experimentation"]
    await load.run("127.0.0.1", port, requests, WARM_UP, CONNECTIONS)
    await wait_for_rows(clickhouse, "events", WARM_UP * BATCH)
    outcome = await load.run("127.0.0.1", port, requests, batches, CONNECTIONS)
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"not every batch was acknowledged: {outcome.statuses}")
    waited = await wait_for_rows(clickhouse, "events", (WARM_UP + batches) * BATCH)
    await clickhouse.aclose()
    return batches * BATCH / (outcome.seconds + waited), outcome


def events_batches() -> Figures:
    """Batches with all agents running, and with the sink alone."""
    batches = bodies()
    figures: Figures = {}
    for name, agents in (("events_all_agents", True), ("events_sink_alone", False)):
        with running(**({} if agents else {"STREAMS_COMPUTATIONS": "false"})) as stack:
            requests = [load.request("/api/v1/events/batch", body, stack.key) for body in batches]
            rate, outcome = asyncio.run(peak(stack, requests, BATCHES))
            reference = asyncio.run(_reference(stack, batches))
        what = "all agents running" if agents else "sink alone, no computations"
        conditions = f"{BATCHES} batches of {BATCH} events of 230 bytes, {CONNECTIONS} connections, {UNITS} units, {what}; acknowledged p99 {outcome.percentile(0.99) * 1e3:.0f} ms"
        figures[name] = Figure(rate, "events/s", f"bare INSERT of the same blocks, {reference:.0f} rows/s", rate / reference, conditions)
    return figures


async def _reference(stack: BenchStack, batches: list[bytes]) -> float:
    clickhouse = stack.clickhouse()
    try:
        return await bare_insert(clickhouse, EVENTS, blocks(batches), 5.0)
    finally:
        await clickhouse.aclose()


def events_single() -> Figures:
    """Single-event posts under load and when idle."""
    body = msgspec.json.encode(msgspec.json.decode(bodies(1)[0])["events"][0])
    with running() as stack:
        port = stack.ports["experimentation"]
        requests = [load.request("/api/v1/events", body, stack.key)]
        # The JVM compiles what is called often, which takes it some seconds of both cores.
        asyncio.run(load.run("127.0.0.1", port, requests, 10_000, 64))
        busy = asyncio.run(load.run("127.0.0.1", port, requests, 60_000, 64))
        idle = asyncio.run(load.run("127.0.0.1", port, requests, 300, 1, rate=50))
    conditions = "60,000 posts of one event, after 10,000 more, 64 connections, all agents running"
    return {
        "single_posts": Figure(busy.requests / busy.seconds, "requests/s", "", None, conditions),
        "single_posts_p99": Figure(busy.percentile(0.99) * 1e3, "ms", "", None, conditions),
        "single_post_idle_p50": Figure(idle.percentile(0.5) * 1e3, "ms", "", None, "one connection, 50 posts a second"),
    }

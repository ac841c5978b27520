"""Telemetry of runs: how much of it is stored, how soon a live client hears of it, and how long a run takes to be read."""

import asyncio
import datetime as dt
import json
import random
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import websockets

from infra.runtime.clock import SystemClock, uuid7
from infra.runtime.settings import IngestSettings
from ingest import telemetry
from ingest.json_rows import Received
from schemas.blocks import Block
from schemas.tables.telemetry import TELEMETRY
from tests.bench import load
from tests.bench.figures import Figure, Figures, percentile
from tests.bench.references import bare_insert, wait_for_rows
from tests.bench.stack import BenchStack, running

BATCH = 500
BATCHES = 1_600
CONNECTIONS = 64
RUNS = 200
STEPS = 100_000
"""Events of the run that is read."""
READS = 40
LIVE_RATE = 10.0
"""Batches a second beside which live events and reads are measured."""
LIVE_S = 20.0
PATH = "/api/v1/telemetry/events"


def bodies(count: int = 40, *, experiment: str = "exp_bench", run: str = "", first_step: int = 0) -> list[bytes]:
    """Batches of training steps, of 200 runs unless it is of one, with three measurements each; about 300 bytes an event."""
    rnd = random.Random(11)
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def event(number: int) -> dict[str, object]:
        return {
            "event_name": ["crucible_train", "batch", "stop"],
            "measurements": {
                "step": first_step + number,
                "loss": round(rnd.random(), 6),
                "accuracy": round(rnd.random(), 6),
                "duration_ms": rnd.randrange(900),
            },
            "metadata": {"experiment_id": experiment, "run_id": run or f"run_{rnd.randrange(RUNS)}", "model": "gpt-4", "host": f"trainer-{rnd.randrange(16)}"},
            "timestamp": now,
        }

    return [msgspec.json.encode({"events": [event(batch * BATCH + each) for each in range(BATCH)]}) for batch in range(count)]


def blocks(batches: Sequence[bytes], per_block: int = 30) -> list[Block]:
    """The same batches as ingest would put them into blocks."""
    clock, settings = SystemClock(), IngestSettings()
    parts = [telemetry.decode(body, Received("default", clock.now_us(), "evt_bench_", "bench", "http"), settings) for body in batches]
    assemble = telemetry.assembler(clock)
    return [assemble(parts[first : first + per_block], str(uuid7(clock.now_us()))) for first in range(0, len(parts), per_block)]


def crucible_telemetry() -> Figures:
    """From the first request to the last row counted."""
    batches = bodies()
    with running() as stack:
        rate, outcome = asyncio.run(_peak(stack, [load.request(PATH, body, stack.key) for body in batches]))
        reference = asyncio.run(_reference(stack, batches))
    conditions = (
        f"{BATCHES} batches of {BATCH} training steps of {len(batches[0]) // BATCH} bytes in {RUNS} runs, {CONNECTIONS} connections, all agents running; "
        f"acknowledged p99 {outcome.percentile(0.99) * 1e3:.0f} ms"
    )
    return {"crucible_telemetry": Figure(rate, "events/s", f"bare INSERT of the same blocks, {reference:.0f} rows/s", rate / reference, conditions)}


async def _peak(stack: BenchStack, requests: list[bytes]) -> tuple[float, load.Outcome]:
    clickhouse, port = stack.clickhouse(), stack.ports["crucible"]
    warm = 100
    await load.run("127.0.0.1", port, requests, warm, CONNECTIONS)
    await wait_for_rows(clickhouse, "telemetry", warm * BATCH)
    outcome = await load.run("127.0.0.1", port, requests, BATCHES, CONNECTIONS)
    if set(outcome.statuses) != {202}:
        raise RuntimeError(f"not every batch was acknowledged: {outcome.statuses}")
    waited = await wait_for_rows(clickhouse, "telemetry", (warm + BATCHES) * BATCH)
    await clickhouse.aclose()
    return BATCHES * BATCH / (outcome.seconds + waited), outcome


async def _reference(stack: BenchStack, batches: list[bytes]) -> float:
    clickhouse = stack.clickhouse()
    try:
        return await bare_insert(clickhouse, TELEMETRY, blocks(batches), 5.0)
    finally:
        await clickhouse.aclose()


def crucible_live() -> Figures:
    """A run of many steps, read while nothing arrives and while telemetry does; and single events, to a live client that asked for their type."""
    with running() as stack:
        return asyncio.run(_live(stack))


async def _live(stack: BenchStack) -> Figures:
    port, clickhouse = stack.ports["crucible"], stack.clickhouse()
    of_run = [load.request(PATH, body, stack.key) for body in bodies(STEPS // BATCH, run="run_read")]
    await load.run("127.0.0.1", port, of_run, len(of_run), 8)
    await wait_for_rows(clickhouse, "telemetry", STEPS)
    await clickhouse.aclose()
    figures: Figures = {}
    conditions = f"{STEPS:,} steps of 3 measurements"
    quiet = await _reads(stack)
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        figures[f"crucible_run_quiet_{label}"] = Figure(percentile(quiet, share) * 1e3, "ms", "", None, f"{conditions}, nothing arriving")
    requests = [load.request(PATH, body, stack.key) for body in bodies()]
    arriving = asyncio.create_task(load.run("127.0.0.1", port, requests, int(LIVE_S * LIVE_RATE), 4, rate=LIVE_RATE))
    heard, busy = await asyncio.gather(_heard(stack, arriving), _reads(stack))
    await arriving
    beside = f"{LIVE_RATE * BATCH:.0f} telemetry events/s arriving"
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        figures[f"crucible_run_{label}"] = Figure(percentile(busy, share) * 1e3, "ms", "", None, f"{conditions}, {beside}, a live client beside")
        figures[f"crucible_event_{label}"] = Figure(
            percentile(heard, share) * 1e3, "ms", "", None, f"{len(heard)} single events, from their acknowledgement to a client of the channel, {beside}"
        )
    return figures


async def _reads(stack: BenchStack) -> list[float]:
    request = load.get("/api/v1/runs/run_read", stack.key)
    outcome = await load.run("127.0.0.1", stack.ports["crucible"], [request], READS, 1, rate=2.0)
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"a run could not be read: {outcome.statuses}")
    return outcome.latencies_s


async def _heard(stack: BenchStack, arriving: "asyncio.Task[load.Outcome]") -> list[float]:
    """Seconds from the acknowledgement of each event to its coming, 0 for those that came before it."""
    url = f"ws://127.0.0.1:{stack.ports['crucible']}/socket/websocket?vsn=2.0.0&token={stack.key}"
    waits: list[float] = []
    async with websockets.connect(url, max_size=None) as socket:
        for message in (["1", "1", "telemetry:all", "phx_join", {}], ["1", "2", "telemetry:all", "subscribe", {"event_types": ["bench.marker"]}]):
            await socket.send(json.dumps(message))
            await asyncio.wait_for(socket.recv(), 10)
        while not arriving.done():
            id = uuid.uuid4().hex
            body = msgspec.json.encode({"events": [{"id": id, "event_name": "bench.marker", "metadata": {"experiment_id": "exp_bench"}}]})
            acknowledged: list[float] = []
            sent = asyncio.create_task(
                load.run("127.0.0.1", stack.ports["crucible"], [load.request(PATH, body, stack.key)], 1, 1, on_answer=lambda _, at: acknowledged.append(at))  # noqa: B023
            )
            came = await asyncio.wait_for(_marker(socket, id), 30)
            await sent
            waits.append(max(0.0, came - acknowledged[0]))
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(arriving), 0.2)
    return waits


async def _marker(socket: Any, id: str) -> float:
    async for text in socket:
        message = json.loads(text)
        if message[3] == "event" and message[4]["id"] == id:
            return time.time()
    raise RuntimeError("the live connection was closed")

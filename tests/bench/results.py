"""Results of an experiment: reading them while its events pour in, and how soon one event moves its interval on a live connection."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from infra.cli.live_feed import LiveFeed
from schemas.position import encode
from tests.bench import load
from tests.bench.events import BATCH, CONNECTIONS, bodies
from tests.bench.figures import Figure, Figures, percentile, tell
from tests.bench.stack import BenchStack, running

HISTORY = 10_000_000
RATE = 100_000
SECONDS = 30.0
PAUSE_S = 0.05
"""Between two reads."""
EVENTS = 100
"""Single events whose way to the live connection is timed."""
DEADLINE_S = 120.0
_METRICS = [
    {"name": "conversion", "event_name": "purchase_completed"},
    {"name": "revenue", "event_name": "purchase_completed", "type": "mean"},
]
_ARMS = [{"name": "control", "allocation": 50}, {"name": "treatment", "allocation": 50}]


def _client(stack: BenchStack) -> httpx.AsyncClient:
    url = f"http://127.0.0.1:{stack.ports['experimentation']}/api/v1"
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {stack.key}"}, timeout=60.0)


async def _experiment(client: httpx.AsyncClient, name: str) -> str:
    answer = await client.post("/experiments", json={"name": name, "status": "ACTIVE", "variants": _ARMS, "metrics": _METRICS})
    answer.raise_for_status()
    return str(answer.json()["data"]["id"])


async def _read(client: httpx.AsyncClient, experiment: str, seconds: float) -> list[float]:
    """How long each read took, one after the other."""
    took = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        answer = await client.get(f"/experiments/{experiment}/results")
        took.append(time.perf_counter() - began)
        answer.raise_for_status()
        await asyncio.sleep(PAUSE_S)
    return took


async def _reads(stack: BenchStack) -> tuple[list[float], list[float], float]:
    """Reads with the history behind and nothing arriving, the same while events arrive, and how many arrived a second."""
    async with _client(stack) as client:
        experiment = await _experiment(client, "bench results")
        requests = [load.request("/api/v1/events/batch", body, stack.key) for body in bodies(400, experiment)]
        port = stack.ports["experimentation"]
        tell(f"sending {HISTORY:,} events")
        sent = await load.run("127.0.0.1", port, requests, HISTORY // BATCH, CONNECTIONS)
        await _included(client, experiment, sent.positions)
        tell("reading results")
        quiet = await _read(client, experiment, SECONDS / 3)
        arriving = asyncio.create_task(load.run("127.0.0.1", port, requests, int(SECONDS * RATE / BATCH), CONNECTIONS, rate=RATE / BATCH))
        busy = await _read(client, experiment, SECONDS)
        outcome = await arriving
        return quiet, busy, outcome.requests * BATCH / outcome.seconds


async def _included(client: httpx.AsyncClient, experiment: str, positions: dict[str, int]) -> None:
    """Wait until the results include everything up to these positions."""
    until = time.perf_counter() + DEADLINE_S
    while True:
        answer = await client.get(f"/experiments/{experiment}/results", headers={"X-Millstream-Wait-For": encode(positions), "X-Millstream-Wait-Timeout": "30"})
        if answer.status_code == 200:
            return
        if time.perf_counter() > until:
            raise TimeoutError(f"results do not include what was sent: {answer.status_code} {answer.text[:300]}")


@dataclass
class _Moved:
    """When the interval was seen to move, and up to which positions."""

    interval: Any = None
    seen: list[tuple[dict[str, int], float]] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, state: dict[str, Any]) -> None:
        mean = next(figures for figures in state["items"].values() if figures["kind"] == "mean" and figures["variant"] == "treatment")
        interval = mean["anytime"]["interval"]
        if interval != self.interval:
            self.interval = interval
            self.seen.append((state["positions"], time.perf_counter()))
            self.woken.set()


async def _live(stack: BenchStack) -> list[float]:
    """Seconds from the acknowledgement of a single event to the first update of the live connection whose interval moved by it."""
    async with _client(stack) as client:
        experiment = await _experiment(client, "bench live")
        events = [
            {"user_id": f"u{n}", "experiment_id": experiment, "variant": "treatment" if n % 2 else "control", "event_type": "page_view"} for n in range(5_000)
        ]
        bought = [{**event, "event_type": "purchase_completed", "metadata": {"value": n % 7 + 1.0}} for n, event in enumerate(events[:2_000])]
        for batch in (events, bought):
            (await client.post("/events/batch", json={"events": batch})).raise_for_status()
        moved = _Moved()
        feed = LiveFeed(f"http://127.0.0.1:{stack.ports['main']}", stack.key, kind="significance", subject=experiment, grain="all", changed=moved)
        watching = asyncio.create_task(feed.run())
        took = []
        try:
            async with asyncio.timeout(DEADLINE_S):
                await moved.woken.wait()
                for number in range(EVENTS):
                    event = {**events[2_000 + number], "event_type": "purchase_completed", "metadata": {"value": 3.0 + number}}
                    answer = await client.post("/events", json=event)
                    answer.raise_for_status()
                    began = time.perf_counter()
                    place, _, offset = answer.headers["X-Millstream-Position"].rpartition(":")
                    took.append(await _until_included(moved, place, int(offset)) - began)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return took


async def _until_included(moved: _Moved, place: str, offset: int) -> float:
    while True:
        moved.woken.clear()
        found = next((at for positions, at in moved.seen if positions.get(place, -1) >= offset), None)
        if found is not None:
            return found
        await moved.woken.wait()


def results() -> Figures:
    """Ten million events of one experiment, then reads of its results beside more of them; and a quiet experiment watched live."""
    with running() as stack:
        took = asyncio.run(_live(stack))
        quiet, busy, rate = asyncio.run(_reads(stack))
    history = f"{HISTORY:,} events of 200,000 users behind, two metrics"
    watched = f"{EVENTS} single events one after the other, 5,000 users, a mean and a proportion; until an update that includes the event has another interval"
    figures: Figures = {}
    for name, values, mark, conditions in (
        ("results_quiet", quiet, None, f"{history}, nothing arriving"),
        ("results", busy, 50.0, f"{history}, {rate:,.0f} events/s of the same experiment arriving"),
        ("live_interval", took, 1_000.0, watched),
    ):
        for label, share in (("p50", 0.5), ("p95", 0.95)):
            found = percentile(values, share) * 1e3
            marked = mark is not None and label == "p95"
            figures[f"{name}_{label}"] = Figure(
                found, "ms", f"the mark, {mark:,.0f} ms" if marked else "", found / mark if marked and mark else None, conditions
            )
    return figures

"""Freshness under load: from the acknowledgement to storage, and to the update on a live connection."""

import asyncio
import bisect
import time
from collections import defaultdict
from typing import Any

from infra.cli.live_feed import LiveFeed
from tests.bench import load
from tests.bench.events import BATCH, CONNECTIONS, bodies, peak
from tests.bench.figures import Figure, Figures, percentile
from tests.bench.stack import BenchStack, running

SECONDS = 20.0
SHARE = 0.7


async def _measure(stack: BenchStack, rate: float) -> tuple[list[float], list[float]]:
    """Seconds from acknowledged to stored, and to the live update, of every request."""
    requests = [load.request("/api/v1/events/batch", body, stack.key) for body in bodies()]
    acknowledged: list[tuple[str, float]] = []
    seen: dict[str, list[tuple[int, float]]] = defaultdict(list)
    port = stack.ports["experimentation"]
    await load.run("127.0.0.1", port, requests, 100, CONNECTIONS)

    def changed(state: dict[str, Any]) -> None:
        for place, offset in state["positions"].items():
            seen[place].append((int(offset), time.time()))

    feed = LiveFeed(f"http://127.0.0.1:{stack.ports['main']}", stack.key, kind="significance", subject="bench", grain="all", changed=changed)
    watcher = asyncio.create_task(feed.run())
    await load.run("127.0.0.1", port, requests, int(SECONDS * rate), CONNECTIONS, rate=rate, on_answer=lambda position, at: acknowledged.append((position, at)))
    await asyncio.sleep(5.0)  # what was acknowledged last gets its chance to appear
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
    if not feed.revisions:
        raise RuntimeError(f"no update came over the live connection: {feed.problem or 'no revision'}")
    clickhouse = stack.clickhouse()
    rows = await clickhouse.query("SELECT partition, offset, toUnixTimestamp64Micro(stored) AS at FROM ledger WHERE topic = 'events'")
    await clickhouse.aclose()
    stored = {f"events:{row['partition']}:{row['offset']}": row["at"] / 1e6 for row in rows}
    to_stored = [max(0.0, stored[position] - at) for position, at in acknowledged if position in stored]
    to_update = []
    for position, at in acknowledged:
        place, _, offset = position.rpartition(":")
        updates = seen[place]
        index = bisect.bisect_left(updates, (int(offset), 0.0))
        if index < len(updates):
            to_update.append(max(0.0, updates[index][1] - at))
    if len(to_stored) < len(acknowledged):
        raise RuntimeError(f"{len(acknowledged) - len(to_stored)} of {len(acknowledged)} acknowledged requests were not stored in time")
    return to_stored, to_update


_REVENUE = "kind: metric\nid: revenue\nevent_type: purchase_completed\ntype: mean\n"
"""A metric that moves with every purchase; the default proportions stand still once every visitor has bought something."""


def freshness() -> Figures:
    """At 70 % of the peak found in the same run."""
    with running() as stack:
        stack.apply(_REVENUE)
        requests = [load.request("/api/v1/events/batch", body, stack.key) for body in bodies()]
        top, _ = asyncio.run(peak(stack, requests, 2_000))
        rate = SHARE * top / BATCH
        stored, updated = asyncio.run(_measure(stack, rate))
    conditions = f"{rate * BATCH:.0f} events/s for {SECONDS:.0f} s, {SHARE:.0%} of the peak of {top:.0f} events/s, all agents running"
    figures: Figures = {}
    for name, values in (("visible", stored), ("update", updated)):
        for label, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            figures[f"freshness_{name}_{label}"] = Figure(percentile(values, share) * 1e3, "ms", "", None, conditions)
    return figures

"""Resident memory of the whole stack, idle and under full load."""

import asyncio
import threading
import time

from tests.bench import load
from tests.bench.events import BATCH, CONNECTIONS, bodies
from tests.bench.figures import Figure, Figures
from tests.bench.stack import running

GIB = 1024**3


def memory() -> Figures:
    """Idle half a minute after the start, then the highest sum seen under full load."""
    with running() as stack:
        time.sleep(30)
        idle = stack.memory_bytes()
        peak = dict(idle)
        stop = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not stop.wait(0.5):
                now = stack.memory_bytes()
                peak = now if now["total"] > peak["total"] else peak

        watcher = threading.Thread(target=watch)
        watcher.start()
        requests = [load.request("/api/v1/events/batch", body, stack.key) for body in bodies()]
        asyncio.run(load.run("127.0.0.1", stack.ports["experimentation"], requests, 5_000, CONNECTIONS))
        stop.set()
        watcher.join()

    def parts(figures: dict[str, int]) -> str:
        return ", ".join(f"{name} {size // 1024**2} MiB" for name, size in sorted(figures.items()) if name != "total")

    return {
        "memory_idle": Figure(idle["total"] / GIB, "GiB", "", None, parts(idle)),
        "memory_full_load": Figure(peak["total"] / GIB, "GiB", "", None, f"{5_000 * BATCH} events as fast as they are taken; " + parts(peak)),
    }

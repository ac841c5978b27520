"""`millstream worker`: one Faust worker in the foreground."""

import asyncio

from infra.runtime.logging import configure_logging
from infra.runtime.settings import Settings
from infra.runtime.telemetry import start_telemetry


def worker() -> None:
    """Run one worker until SIGINT or SIGTERM. Start as many as there are partitions; Kafka shares the work among them."""
    from streams.worker import run_worker

    settings = Settings()
    configure_logging(settings, "worker")
    stop = start_telemetry(settings, "millstream-worker")
    try:
        asyncio.run(run_worker(settings))
    finally:
        stop()

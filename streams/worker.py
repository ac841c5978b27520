"""One worker process: opens its parts, runs the Faust app, closes in order."""

import asyncio
import contextlib
import os
import signal
import threading
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from prometheus_client import start_http_server

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import SystemClock
from infra.runtime.collector import settle
from infra.runtime.follower import CompactedFollower
from infra.runtime.metric_names import REGISTRY
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from schemas.avro import applied_to
from schemas.definitions import Definitions
from schemas.topics import CONTROL
from streams.app import Parts, create_app
from streams.fatal import DEFECT, stop_worker
from streams.judge import JudgeConsumer
from streams.redefinitions import Redefinitions

_log = structlog.get_logger()

STOP_S = 12.0
"""How long a worker takes at most to end; whoever started it waits somewhat longer before it kills it."""


async def run_worker(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM; what is under way is finished first, within `STOP_S`. Waits for Kafka and ClickHouse as long as it takes."""
    clock = SystemClock()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _told_to_stop, stop)
    clickhouse = ClickHouse(settings.clickhouse.url, settings.clickhouse.user, settings.clickhouse.password.get_secret_value(), settings.clickhouse.database)
    producer = Producer(settings.kafka)
    definitions = Definitions()
    follower = CompactedFollower(settings.kafka.bootstrap, CONTROL.name, applied_to(definitions))
    redefinitions = Redefinitions(clickhouse, producer, settings.streams, clock)
    judges = JudgeConsumer(clickhouse, producer, definitions, settings, clock)
    if settings.port.worker_metrics:
        with contextlib.suppress(OSError):  # a second worker on the same host goes without
            start_http_server(settings.port.worker_metrics, settings.host, REGISTRY)
    generation = await _until(stop, _generation(settings.kafka.bootstrap))
    if generation is None:
        return
    await producer.start()
    await follower.start()
    if await _until(stop, follower.caught_up()) is None and stop.is_set():
        return
    definitions.on_change(redefinitions.changed)
    app = create_app(Parts(settings, clock, clickhouse, producer, definitions, generation))
    passing_on = asyncio.create_task(redefinitions.run())
    judging = asyncio.create_task(_judging(judges)) if settings.streams.computations else None
    await app.start()
    settle()
    _log.info("worker ready")
    await stop.wait()
    _log.info("worker stopping")
    passing_on.cancel()
    if judging is not None:
        judging.cancel()
        await asyncio.gather(judging, return_exceptions=True)
    await app.stop()
    await follower.stop()
    await producer.stop()
    await clickhouse.aclose()


def _told_to_stop(stop: asyncio.Event) -> None:
    """Ask for an orderly end, and have one in any case: with Kafka away neither its clients nor the threads that hold them need ever come back."""
    if not stop.is_set():
        stop.set()
        last = threading.Timer(STOP_S, _end_at_once)
        last.daemon = True
        last.start()


def _end_at_once() -> None:
    # Whatever could not be committed comes again and is skipped.
    _log.warning("ending before everything was closed", waited_s=STOP_S)
    os._exit(0)


async def _judging(judges: JudgeConsumer) -> None:
    try:
        await judges.run()
    except Exception as error:
        _log.exception("judges failed")
        stop_worker(DEFECT, "judges failed", error=repr(error)[:500])


async def _until(stop: asyncio.Event, work: Any) -> Any:
    """The result of `work`, or None when the process is told to stop first."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    return None


async def _generation(bootstrap: str) -> str:
    """Identity of the cluster: offsets mean something only within one."""
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap.split(","))
        try:
            await admin.start()
            cluster: dict[str, Any] = await admin.describe_cluster()
            return str(cluster.get("cluster_id") or "")
        except (KafkaError, OSError) as error:
            _log.info("waiting for Kafka", error=str(error)[:200])
            await asyncio.sleep(0.5)
        finally:
            await admin.close()

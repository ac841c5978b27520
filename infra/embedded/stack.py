"""The whole platform on one machine: the engine, Kafka, and the platform's own services, from one data folder."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import aiohttp
import structlog

from infra.embedded.folder import DataFolder, FolderProblem
from infra.embedded.kafka import broker_answers, prepare_broker
from infra.embedded.ports import RememberedPorts, is_free
from infra.embedded.supervisor import Backoff, Child, Supervisor
from infra.runtime.settings import Settings

log = structlog.get_logger()

Prepare = Callable[[Settings], Awaitable[None]]
"""Creates topics, tables and the first key, once engine and Kafka answer and before any service starts."""
Services = Callable[[Settings], Sequence[Child]]
Announce = Callable[["Running"], None]

_SURFACES = {"experimentation": "/experimentation", "crucible": "/crucible", "llm": "/llm", "otlp_http": "/llm", "otlp_grpc": ""}


@dataclass(frozen=True)
class Running:
    """A stack that is ready."""

    settings: Settings
    """As the services see them: with the ports in use."""
    warnings: list[str]
    """Documented ports that are not served, each with what to use instead."""
    seconds: float
    """From the start to ready."""


def connect(settings: Settings | None = None) -> Settings:
    """The settings with the addresses of the stack that `up` started in the data folder; addresses set by hand win.

    Every command that talks to a running stack builds its settings with this.
    """
    known = settings or Settings()
    return at_ports(known, RememberedPorts(DataFolder(known.data_dir).ports_file).read())


def at_ports(settings: Settings, ports: Mapping[str, int]) -> Settings:
    """The settings with the parts named in `ports` on this machine. Addresses set by hand are kept."""
    clickhouse, kafka, query, port = settings.clickhouse, settings.kafka, settings.query, settings.port
    if "clickhouse" in ports and "url" not in clickhouse.model_fields_set:
        clickhouse = clickhouse.model_copy(update={"url": f"http://127.0.0.1:{ports['clickhouse']}"})
    if "kafka" in ports and "bootstrap" not in kafka.model_fields_set:
        kafka = kafka.model_copy(update={"bootstrap": f"127.0.0.1:{ports['kafka']}"})
    if "query" in ports and "url" not in query.model_fields_set:
        query = query.model_copy(update={"url": f"http://127.0.0.1:{ports['query']}"})
    port = port.model_copy(update={name: ports[name] for name in ("query", "worker_metrics") if name in ports})
    return settings.model_copy(update={"clickhouse": clickhouse, "kafka": kafka, "query": query, "port": port})


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables that give a child process the same folder, addresses and ports."""
    ports = {f"MILLSTREAM_PORT_{name.upper()}": str(number) for name, number in settings.port.model_dump().items()}
    return {
        "MILLSTREAM_DATA_DIR": str(settings.data_dir.resolve()),
        "MILLSTREAM_CLICKHOUSE_URL": settings.clickhouse.url,
        "MILLSTREAM_KAFKA_BOOTSTRAP": settings.kafka.bootstrap,
        "MILLSTREAM_QUERY_URL": settings.query.url,
        # Everything is on one machine, and so, while somebody tries it, are receivers and models.
        "MILLSTREAM_WEBHOOKS_ALLOW_PRIVATE": settings.webhooks.allow_private or "127.0.0.0/8,::1/128",
        "MILLSTREAM_EVALUATION_ALLOW_PRIVATE": settings.evaluation.allow_private or "127.0.0.0/8,::1/128",
        **ports,
    }


def platform_services(settings: Settings) -> list[Child]:
    """Query service, ingest and one worker, as `up` runs them."""
    command = [sys.executable, "-m", "infra.cli.main"]
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return [
        Child("query", [*command, "serve", "query"], http_ready(f"{settings.query.url}/platform/v1/health/live")),
        Child("ingest", [*command, "serve", "ingest"], http_ready(f"http://{host}:{settings.port.main}/platform/v1/health/live")),
        Child("worker", [*command, "worker"], http_ready(f"http://{host}:{settings.port.worker_metrics}/metrics"), stop_timeout_s=25.0),
    ]


def http_ready(url: str) -> Callable[[], Awaitable[bool]]:
    """A check that says yes once a GET of `url` answers 200."""

    async def check() -> bool:
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session, session.get(url) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    return check


class Stack:
    """One data folder's stack. `run` is the whole life: start, wait for a signal, stop."""

    def __init__(self, settings: Settings, prepare: Prepare, *, services: Services = platform_services, backoff: Backoff | None = None) -> None:
        self._initial = settings
        self._prepare = prepare
        self._services = services
        self.folder = DataFolder(settings.data_dir)
        self.supervisor = Supervisor(self.folder.logs, backoff=backoff, changed=self._publish)
        self._ports: dict[str, int] = {}
        self._ready = False
        self._started = time.time()

    async def run(self, announce: Announce) -> None:
        """Start everything, announce it, and stop in order on SIGINT, SIGTERM or cancellation.

        Raises FolderProblem, JavaMissing, JarsUnavailable, KafkaUnusable or ChildFailed when the start fails; nothing is left running.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        starting = asyncio.create_task(self.start())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                announce(starting.result())
                await stopping
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            await self.stop()

    async def start(self) -> Running:
        """Start everything and return when all of it is ready. After an exception call `stop`."""
        begun = time.monotonic()
        self.folder.hold()
        settings, warnings = self._take_ports(self._initial)
        self._publish()
        await self._start_stores(settings)
        await self._prepare(settings)
        async with asyncio.TaskGroup() as group:
            for child in self._services(settings):
                group.create_task(self.supervisor.start(replace(child, env={**environment_of(settings), **child.env})))
        self._ready = True
        self._publish()
        return Running(settings, warnings, time.monotonic() - begun)

    async def stop(self) -> None:
        """Stop what runs, last started first, and give the folder back."""
        self._ready = False
        await self.supervisor.stop()
        self.folder.release()

    def _take_ports(self, settings: Settings) -> tuple[Settings, list[str]]:
        host, port = settings.host, settings.port
        if port.main and not is_free(host, port.main):
            raise FolderProblem(
                f"Port {port.main} on {host} is in use. Stop what uses it, or choose another main port: MILLSTREAM_PORT_MAIN={port.main + 1000}."
            )
        off: dict[str, int] = {}
        warnings: list[str] = []
        for name, prefix in _SURFACES.items():
            number: int = getattr(port, name)
            if number and not is_free(host, number):
                off[name] = 0
                warnings.append(_instead(name, number, prefix, settings))
        names = ["query", "worker_metrics"]
        names += [] if "url" in settings.clickhouse.model_fields_set else ["clickhouse"]
        names += [] if "bootstrap" in settings.kafka.model_fields_set else ["kafka", "kafka_controller"]
        preferred = {"query": port.query, "worker_metrics": port.worker_metrics}
        self._ports = RememberedPorts(self.folder.ports_file).choose(*names, preferred=preferred)
        served = settings.model_copy(update={"port": port.model_copy(update=off), "data_dir": self.folder.path})
        return at_ports(served, self._ports), warnings

    async def _start_stores(self, settings: Settings) -> None:
        async with asyncio.TaskGroup() as group:
            if "clickhouse" in self._ports:
                group.create_task(self.supervisor.start(engine_child(self.folder.engine, self._ports["clickhouse"])))
            if "kafka" in self._ports:
                group.create_task(self._start_kafka(settings))

    async def _start_kafka(self, settings: Settings) -> None:
        broker = await asyncio.to_thread(prepare_broker, settings.kafka, self.folder.kafka, self._ports["kafka"], self._ports["kafka_controller"])
        await self.supervisor.start(kafka_child(broker.command, broker.bootstrap))

    def _publish(self) -> None:
        children = [asdict(status) for status in self.supervisor.statuses]
        state = {"pid": os.getpid(), "started": self._started, "ready": self._ready, "ports": self._ports, "children": children}
        try:
            self.folder.write_run(state)
        except OSError as error:
            # A full disk must not take down what still works.
            log.warning("status_not_written", error=str(error))


def engine_child(folder: Path, port: int) -> Child:
    """The engine on a port of this machine."""
    argv = [sys.executable, "-m", "infra.embedded.clickhouse_server", "--data", str(folder), "--port", str(port)]
    return Child("clickhouse", argv, http_ready(f"http://127.0.0.1:{port}/ping"), stop_timeout_s=30.0)


def kafka_child(command: Sequence[str], bootstrap: str) -> Child:
    """The broker with the command that prepare_broker gave."""

    async def ready() -> bool:
        return await broker_answers(bootstrap)

    return Child("kafka", command, ready, ready_timeout_s=90.0, stop_timeout_s=20.0)


def _instead(name: str, number: int, prefix: str, settings: Settings) -> str:
    variable = f"MILLSTREAM_PORT_{name.upper()}"
    if not prefix:
        return f"Port {number} ({name}) is in use and not served; set {variable} to another port, or send OTLP over HTTP."
    return (
        f"Port {number} ({name}) is in use and not served; use http://{settings.host}:{settings.port.main}{prefix} instead, or set {variable} to another port."
    )


def first_failure(error: BaseException) -> BaseException:
    """The first exception inside groups of them; others are logged by their owners."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

"""The ingest process: every door on every port, until it is told to stop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
import uvicorn

from infra.runtime.allocator import keep_buffers
from infra.runtime.clock import SystemClock
from infra.runtime.collector import settle
from infra.runtime.follower import CompactedFollower
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from ingest import metrics
from ingest.admission import Admission
from ingest.evaluation import EvaluationDoors
from ingest.evaluators import Evaluators
from ingest.experiment_check import ExperimentChecks
from ingest.exposures import Exposures
from ingest.flag_exposures import FlagExposures
from ingest.flag_stream import FlagStreams
from ingest.forward import Forwarder
from ingest.front import Front, OtlpDoor
from ingest.http_protocol import HttpProtocol
from ingest.idempotency import IdempotencyKeys
from ingest.json_doors import JsonDoors
from ingest.kafka_bridge import KafkaBridge
from ingest.key_usage import KeyUsage
from ingest.long_lived import spare_long_lived
from ingest.ofrep import Ofrep
from ingest.otlp import OtlpLanes
from ingest.otlp_grpc import OtlpGrpcServer
from ingest.otlp_http import OtlpHttpDoor
from ingest.publish import Publisher
from ingest.quota import Quota
from ingest.shared import Shared
from ingest.shared_claims import SharedClaims
from schemas.avro import applied_to
from schemas.definitions import Definitions
from schemas.surfaces import SURFACES, Surface
from schemas.topics import CONTROL

_log = structlog.get_logger()
KEYS_DEADLINE_S = 10.0
"""How long ingest waits at start for the keys; after that it serves with what it has and refuses the others."""


def surface_ports(settings: Settings) -> dict[int, Surface]:
    """The documented ports that are on, by number."""
    found = {getattr(settings.port, surface.port): surface for surface in SURFACES if surface.port}
    return {port: surface for port, surface in found.items() if port}


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(4_096)
    listener.setblocking(False)
    return listener


async def run_ingest(settings: Settings, wrap: Callable[[Any], Any] = lambda app: app) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way. `wrap` may put an ASGI layer around the front. Raises OSError when a port is taken."""
    keep_buffers()
    clock = SystemClock()
    producer = Producer(settings.kafka)
    publisher = Publisher(producer)
    definitions = Definitions()
    follower = CompactedFollower(settings.kafka.bootstrap, CONTROL.name, applied_to(definitions))
    usage = KeyUsage(publisher)
    shared = Shared(settings.ingest.redis_url, clock) if settings.ingest.redis_url else None
    admission = Admission(definitions, settings, clock, usage, lambda: follower.is_caught_up)
    metrics.IN_FLIGHT.set_function(lambda: admission.in_flight_bytes)
    json_doors = JsonDoors(publisher, settings.ingest, clock, ExperimentChecks(definitions, settings.ingest))
    lanes = OtlpLanes(publisher, settings, clock, FlagExposures(definitions, json_doors.store_events))
    otlp = OtlpHttpDoor(lanes, settings)
    forwarder = Forwarder(settings.query.url)
    claims = SharedClaims(shared, settings.ingest.idempotency_ttl_s) if shared else None
    keys = IdempotencyKeys(clock, settings.ingest.idempotency_ttl_s, claims)
    quota = Quota(clock, shared)
    evaluators = Evaluators(definitions, clock)
    exposures = Exposures(json_doors.store_events, clock)
    streams = FlagStreams(definitions, evaluators, clock)
    evaluation = EvaluationDoors(evaluators, exposures, clock)
    ofrep = Ofrep(definitions, admission, evaluators, exposures, streams, clock)
    spare_long_lived(definitions)
    ports = surface_ports(settings)
    front = Front(ports, admission, keys, json_doors, OtlpDoor(otlp.handle, otlp.refuse), forwarder, quota, evaluation, ofrep, settings.ingest.max_body_bytes)
    sockets = [_listen(settings.host, port) for port in (settings.port.main, *ports)]
    await follower.start()
    await producer.start()
    await follower.caught_up(KEYS_DEADLINE_S)
    async with _grpc(settings, lanes, admission), _bridge(settings, lanes, publisher), _published(usage):
        config = uvicorn.Config(
            wrap(front), http=HttpProtocol, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=75, timeout_graceful_shutdown=10, backlog=4_096, ws_max_size=16_777_216,
            server_header=False, proxy_headers=False, date_header=False,
        )  # fmt: skip
        settle()
        _log.info("ingest ready", main=settings.port.main, surfaces={surface.name: port for port, surface in ports.items()})
        await _Server(config, streams.close).serve(sockets=sockets)
        await lanes.drain()
        await json_doors.drain()
    if shared:
        await shared.close()
    await forwarder.close()
    await follower.stop()
    await producer.stop()


class _Server(uvicorn.Server):
    """A server that ends what would never end by itself before it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)


@contextlib.asynccontextmanager
async def _grpc(settings: Settings, lanes: OtlpLanes, admission: Admission) -> AsyncIterator[None]:
    if not settings.port.otlp_grpc:
        yield
        return
    server = OtlpGrpcServer(lanes, settings, lambda headers, client: admission.authenticate(headers, client, keyless=True).tenant, admission.reserve)
    await server.start()
    try:
        yield
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def _bridge(settings: Settings, lanes: OtlpLanes, publisher: Publisher) -> AsyncIterator[None]:
    if not settings.ingest.kafka_door:
        yield
        return
    bridge = KafkaBridge(settings, publisher, lanes)
    task = asyncio.create_task(bridge.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _published(usage: KeyUsage) -> AsyncIterator[None]:
    task = asyncio.create_task(usage.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await usage.publish()

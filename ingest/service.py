"""The ingest process: every door on every port, until it is told to stop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
import uvicorn

from infra.runtime.clock import SystemClock
from infra.runtime.follower import CompactedFollower
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from ingest import metrics
from ingest.admission import Admission
from ingest.forward import Forwarder
from ingest.front import Front, OtlpDoor
from ingest.idempotency import IdempotencyKeys
from ingest.json_doors import JsonDoors
from ingest.kafka_bridge import KafkaBridge
from ingest.otlp import OtlpLanes
from ingest.otlp_grpc import OtlpGrpcServer
from ingest.otlp_http import OtlpHttpDoor
from ingest.publish import Publisher
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
    clock = SystemClock()
    producer = Producer(settings.kafka)
    publisher = Publisher(producer)
    definitions = Definitions()
    follower = CompactedFollower(settings.kafka.bootstrap, CONTROL.name, applied_to(definitions))
    admission = Admission(definitions, settings, clock)
    metrics.IN_FLIGHT.set_function(lambda: admission.in_flight_bytes)
    json_doors = JsonDoors(publisher, settings.ingest, clock)
    lanes = OtlpLanes(publisher, settings, clock)
    otlp = OtlpHttpDoor(lanes, settings)
    forwarder = Forwarder(settings.query.url)
    keys = IdempotencyKeys(clock, settings.ingest.idempotency_ttl_s)
    ports = surface_ports(settings)
    front = Front(ports, admission, keys, json_doors, OtlpDoor(otlp.handle, otlp.refuse), forwarder, settings.ingest.max_body_bytes)
    sockets = [_listen(settings.host, port) for port in (settings.port.main, *ports)]
    await follower.start()
    await producer.start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(follower.caught_up(), KEYS_DEADLINE_S)
    async with _grpc(settings, lanes, admission), _bridge(settings, lanes, publisher):
        config = uvicorn.Config(
            wrap(front), log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=75, timeout_graceful_shutdown=10, backlog=4_096, ws_max_size=16_777_216,
            server_header=False, proxy_headers=False, date_header=False,
        )  # fmt: skip
        _log.info("ingest ready", main=settings.port.main, surfaces={surface.name: port for port, surface in ports.items()})
        await uvicorn.Server(config).serve(sockets=sockets)
        await json_doors.drain()
        await lanes.drain()
    await forwarder.close()
    await follower.stop()
    await producer.stop()


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

"""Requests and a publisher for tests of the OTLP doors."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Unavailable
from infra.runtime.settings import Settings
from ingest import event_blocks
from ingest.events import EventRows
from ingest.exchange import DoorRequest, Message
from ingest.flag_exposures import FlagExposures
from ingest.otlp import OtlpLanes
from schemas.blocks import Block
from schemas.definitions import Definitions

NOW_NS = SystemClock().now_us() * 1_000


class Published:
    """Takes blocks in place of Kafka; `down` makes it refuse them."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.sent: list[tuple[str, bytes, dict[str, bytes]]] = []
        self.down = 0

    async def publish(self, block: Block) -> str:
        if self.down:
            self.down -= 1
            raise Unavailable("away", retry_after_s=2)
        self.blocks.append(block)
        return f"{block.topic.name}:0:{len(self.blocks) - 1}"

    async def send(self, topic: str, value: bytes, *, key: bytes | None = None, headers: list[tuple[str, bytes]] | None = None) -> str:
        self.sent.append((topic, value, dict(headers or [])))
        return f"{topic}:0:{len(self.sent) - 1}"


def lanes(published: Published, settings: Settings | None = None, definitions: Definitions | None = None) -> OtlpLanes:
    """Lanes that put exposures into blocks of their own."""
    publisher: Any = published
    used, clock = settings or Settings(), SystemClock()
    assemble = event_blocks.assembler(clock, used.ingest)

    async def store(rows: EventRows) -> str:
        return await published.publish(assemble([rows], "exposures"))

    return OtlpLanes(publisher, used, clock, FlagExposures(definitions or Definitions(), store))


def door_request(path: str, content_type: str = "application/x-protobuf", **headers: str) -> DoorRequest:
    async def receive() -> Message:
        raise AssertionError("the body was read already")

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return DoorRequest(path, {"content-type": content_type, **named}, "127.0.0.1", receive)


def traces(count: int = 1, service: str = "shop", start_ns: int = NOW_NS) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = service
    scope = group.scope_spans.add()
    scope.scope.name = "tests"
    for number in range(1, count + 1):
        span = scope.spans.add(
            trace_id=number.to_bytes(16), span_id=number.to_bytes(8), name="work", start_time_unix_nano=start_ns, end_time_unix_nano=start_ns + 5
        )
        span.attributes.add(key="number").value.int_value = number
    return request

"""The second try for a block of OTLP requests that the engine refuses.

Protobuf's rule for a known field of the wrong wire type is to treat it as unknown, and ingest's parser does so; the engine
refuses the whole block instead. That happens only to bytes that no OTLP exporter writes, so checking every request for
it would cost more than it is worth. Repairing serialises the requests anew, without unknown fields.
"""

import lz4.frame
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from schemas.blocks import Block
from schemas.otlp_wire import varint

_REQUESTS: dict[str, type[Message]] = {
    "spans/1": ExportTraceServiceRequest,
    "metric_points/1": ExportMetricsServiceRequest,
    "logs/1": ExportLogsServiceRequest,
}
_BODY = 7
"""Field of the envelope that holds the request."""


def repair(block: Block) -> bytes:
    """A block's body, uncompressed, with every request in the one form the engine knows; the same bytes give the same result each time.

    Raises ValueError when the schema is not one of OTLP's or the bytes are not a block of it.
    """
    request = _REQUESTS.get(block.schema_id)
    if request is None:
        raise ValueError(f"{block.schema_id} is not a block of OTLP requests")
    body = _plain(block)
    out: list[bytes] = []
    position = 0
    while position < len(body):
        size, position = _varint(body, position)
        head, inner = _open(body, position, position + size)
        try:
            message = request.FromString(inner)
        except DecodeError as error:
            raise ValueError(f"the request at byte {position} cannot be parsed") from error
        message.DiscardUnknownFields()
        clean = message.SerializeToString()
        prefix = head + bytes((_BODY << 3 | 2,)) + varint(len(clean))
        out += (varint(len(prefix) + len(clean)), prefix, clean)
        position += size
    return b"".join(out)


def _plain(block: Block) -> bytes:
    if not block.encoding:
        return block.body
    if block.encoding != "lz4":
        raise ValueError(f"a block compressed with {block.encoding} cannot be read")
    try:
        plain: bytes = lz4.frame.decompress(block.body)
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"the block cannot be decompressed: {error}") from error
    return plain


def _open(body: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """The fields of an envelope before its request, and the request."""
    position = start
    while position < end:
        field_start = position
        tag, position = _varint(body, position)
        value, position = _varint(body, position)
        if tag & 7 == 2:
            if tag >> 3 == _BODY:
                return body[start:field_start], body[position : position + value]
            position += value
    raise ValueError(f"the envelope at byte {start} holds no request")


def _varint(body: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while shift < 70:
        if position >= len(body):
            break
        byte = body[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise ValueError("the block is cut off")

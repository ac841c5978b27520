"""The block: one Kafka record that holds many rows of one kind in a form the engine decodes natively."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from schemas.topics import BY_NAME, Topic

MAX_UNITS = 2_000
"""Distinct units a block names one by one; beyond that it says "all", which costs less to carry and to look up."""


class Touched(msgspec.Struct, frozen=True, array_like=True):
    """One subject whose windows a block changes."""

    tenant: str
    subject: str
    """Experiment of an event; service of a span, point or log record; event name of telemetry."""
    minutes: tuple[int, ...]
    """Event-time minutes since the epoch, ascending."""
    units: tuple[str, ...] | None
    """Units that changed, or None for "too many to name"."""
    keyed: bool
    """Whether a row carries an id of the client's own, and so may come again in another block."""


class MalformedBlock(Exception):
    """The record is not a block: a header is missing or the checksum does not match its bytes."""


_ENCODING = "ms-encoding"
_HEADERS = ("ms-batch", "ms-schema", "ms-rows", "ms-crc", "ms-min", "ms-max", "ms-touched", "ms-born")
_touched_decoder = msgspec.msgpack.Decoder(tuple[Touched, ...])


@dataclass(frozen=True)
class Block:
    """Rows of one kind and one schema version, immutable from birth in ingest to the INSERT."""

    topic: Topic
    batch_id: str
    """Born at ingest and used as the insert token: the same id is stored once."""
    schema_id: str
    """Name and version of the body's layout, such as `events/1`."""
    rows: int
    body: bytes
    """As it travels, from the topic to the INSERT; see `encoding`."""
    min_time_us: int
    """Earliest event time, microseconds since the epoch."""
    max_time_us: int
    born_us: int
    """When ingest closed the block."""
    touched: tuple[Touched, ...] = ()
    encoding: str = ""
    """How `body` is compressed, as HTTP's Content-Encoding names it; empty when it is not, or when its format compresses by itself."""

    def headers(self) -> list[tuple[str, bytes]]:
        """Record headers that let a consumer check and route the block without reading its body."""
        values = (self.batch_id, self.schema_id, self.rows, zlib.crc32(self.body), self.min_time_us, self.max_time_us)
        plain = [(name, str(value).encode()) for name, value in zip(_HEADERS, values, strict=False)]
        encoding = [(_ENCODING, self.encoding.encode())] if self.encoding else []
        return [*plain, ("ms-touched", msgspec.msgpack.encode(self.touched)), ("ms-born", str(self.born_us).encode()), *encoding]

    @classmethod
    def from_record(cls, topic: str, headers: Iterable[tuple[str, bytes]] | None, body: bytes | None) -> "Block":
        """Read a record back. Raises MalformedBlock when it is not a block or its bytes are damaged."""
        found = dict(headers or ())
        try:
            batch, schema, rows, crc, low, high, touched, born = (found[name] for name in _HEADERS)
            encoding = found.get(_ENCODING, b"").decode()
            touched_subjects = _touched_decoder.decode(touched)
            block = cls(BY_NAME[topic], batch.decode(), schema.decode(), int(rows), body or b"", int(low), int(high), int(born), touched_subjects, encoding)
            expected = int(crc)
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            raise MalformedBlock(f"not a block: {error!r}") from error
        if zlib.crc32(block.body) != expected:
            raise MalformedBlock("checksum does not match the bytes")
        return block

"""What the JSON doors share: times, quarantine, nesting, ids and the blocks they end in."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from infra.runtime.errors import InvalidArgument, ValidationFailed
from infra.runtime.settings import IngestSettings

_MICROS = pa.timestamp("us", "UTC")


class ItemError(msgspec.Struct, frozen=True):
    """Why one item of a batch was refused."""

    index: int
    """Place in the request, from 0."""
    message: str
    field: str = ""


@dataclass(frozen=True)
class Received:
    """What ingest knows of a request besides its body."""

    tenant: str
    at_us: int
    """Time of receipt, microseconds since the epoch."""
    id_prefix: str
    """Start of the ids made for this request; a number makes each of them unique."""
    sdk: str = ""
    source: str = ""


def sdk_of(headers: dict[str, str]) -> str:
    """Client library of a request: `X-Millstream-SDK`, else the product of the User-Agent."""
    return (headers.get("x-millstream-sdk") or headers.get("user-agent", "").split(" ")[0])[:64]


_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])')


def check_nesting(body: bytes, items: int, limit: int) -> None:
    """Raise InvalidArgument when arrays and objects nest deeper than `limit`.

    Cheap when it must be: a batch of `items` flat objects, each with one flat object inside, opens 2 + 2 * items brackets,
    so only a body with many more than that is walked.
    """
    opening = body.count(b"{") + body.count(b"[")
    if opening - 2 * items <= limit:
        return
    depth = 0
    for match in _TOKENS.finditer(body):
        if match[1]:
            depth += 1
            if depth > limit:
                raise InvalidArgument(f"The body nests deeper than {limit} levels.")
        elif match[2]:
            depth -= 1


def field_error(error: msgspec.ValidationError) -> ValidationFailed:
    """The decoder's message as a field error: its path without the leading `$.`."""
    text = str(error)
    path = re.search(r"`\$\.?([^`]*)`", text)
    missing = re.search(r"missing required field `([^`]+)`", text)
    field = missing[1] if missing else (path[1] if path else "")
    return ValidationFailed(text, details={"field": field})


def _parse_time(text: str, field: str) -> dt.datetime:
    """One ISO 8601 time; without a zone it is UTC, digits beyond microseconds are cut."""
    try:
        time = dt.datetime.fromisoformat(text)
        return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise ValidationFailed(f"`{field}` must be an ISO 8601 time such as 2026-01-31T12:00:00Z, not {text[:64]!r}.", details={"field": field}) from error


def parse_times(stamps: Sequence[str | None], field: str, default_us: int = 0) -> pa.Array:
    """ISO 8601 texts to microseconds UTC, None to the default. Raises ValidationFailed when one cannot be read."""
    texts = pa.array(stamps, pa.string())
    if texts.null_count == len(texts):
        return pa.repeat(pa.scalar(default_us, _MICROS), len(texts))
    try:
        times = texts.cast(_MICROS)
    except pa.ArrowInvalid:  # Arrow reads only the commonest shape, but reads it fast
        times = pa.array([None if text is None else _parse_time(text, field) for text in stamps], _MICROS)
    return pc.fill_null(times, pa.scalar(default_us, _MICROS)) if times.null_count else times


def check_object(raw: bytes | msgspec.Raw, field: str) -> None:
    """Raise ValidationFailed unless the JSON value is an object, null or absent."""
    if bytes(raw)[:1] not in (b"", b"{", b"n"):
        raise ValidationFailed(f"`{field}` must be an object.", details={"field": field})


def objects(raws: Sequence[msgspec.Raw], field: str) -> pa.Array:
    """JSON objects as sent, as a binary column; null and absent are empty. Raises ValidationFailed when one is not an object."""
    column = pa.array([bytes(raw) for raw in raws], pa.binary())
    if not pc.all(pc.starts_with(column, b"{"), min_count=0).as_py():
        for raw in raws:
            check_object(raw, field)
        column = pa.array([b"" if raw[:1] != b"{" else raw for raw in map(bytes, raws)], pa.binary())
    return column


def quarantined(times: pa.Array, at_us: int, settings: IngestSettings) -> pa.Array:
    """1 for times absurdly far from the time of receipt, as UInt8."""
    micros = times.cast(pa.int64())
    if len(micros) == 0:
        return pa.array([], pa.uint8())
    low, high = at_us - settings.max_past_s * 1_000_000, at_us + settings.max_future_s * 1_000_000
    return pc.or_(pc.less(micros, low), pc.greater(micros, high)).cast(pa.uint8())


def time_range(table: pa.Table) -> tuple[int, int]:
    """Earliest and latest event time, microseconds since the epoch."""
    micros = table["time"].cast(pa.int64()).to_numpy()
    return int(micros.min()), int(micros.max())


def stream(batches: Sequence[pa.RecordBatch]) -> tuple[bytes, pa.Table]:
    """One Arrow IPC stream of one record batch, and the table it holds."""
    table = pa.Table.from_batches(batches).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes(), table

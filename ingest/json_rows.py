"""What the JSON doors share: times, quarantine, nesting, ids and the blocks they end in."""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from infra.runtime.errors import InvalidArgument, MillstreamError, TooLarge, ValidationFailed
from infra.runtime.settings import IngestSettings

MICROS = pa.timestamp("us", "UTC")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
FEW = 8
"""Times below this number are read one by one."""


def _micros(time: dt.datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


class ItemError(msgspec.Struct, frozen=True):
    """Why one item of a batch was refused."""

    index: int
    """Place in the request, from 0."""
    message: str
    field: str = ""


class Received(msgspec.Struct, frozen=True):
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


def check_utf8(body: bytes) -> None:
    """Raise InvalidArgument unless the body is UTF-8. Parts are kept as they came, so every byte counts and not only the fields that are read."""
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"The body is not UTF-8: byte {error.start} is wrong.") from error


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


class _Items(msgspec.Struct):
    events: list[msgspec.Raw]


_items = msgspec.json.Decoder(_Items)


_NUMBERS = tuple(map(str, range(20_000)))


def numbered(prefix: str, count: int) -> list[str]:
    """Ids made of a prefix and the place in the request."""
    numbers = _NUMBERS[:count] if count <= len(_NUMBERS) else map(str, range(count))
    return [prefix + number for number in numbers]


def check_rows(count: int, settings: IngestSettings) -> None:
    """Raise TooLarge when a batch has more items than the limit."""
    if count > settings.max_rows:
        raise TooLarge(f"The batch has {count} events; the limit is {settings.max_rows}. Send smaller batches.")


def items_of(body: bytes, settings: IngestSettings) -> list[msgspec.Raw]:
    """The items of a batch `{"events": [...]}`, each still JSON. An item may hold two flat objects without being looked at for depth.

    Raises InvalidArgument when the body is not JSON, ValidationFailed when it is not a batch, TooLarge above the row limit.
    """
    try:
        items = _items.decode(body).events
    except msgspec.ValidationError as error:
        raise ValidationFailed(f'The body must be {{"events": [...]}}: {error}') from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"The body is not valid JSON: {error}") from error
    check_rows(len(items), settings)
    check_nesting(body, 2 * len(items), settings.max_nesting)
    return items


_T = TypeVar("_T")


def one_by_one(items: Iterable[msgspec.Raw], decode: Callable[[bytes], tuple[_T, str]]) -> tuple[list[_T], list[str], list[ItemError]]:
    """Decode each item on its own: the good ones, the unknown fields of each (JSON text, or empty), and what was refused."""
    good: list[_T] = []
    extras: list[str] = []
    errors: list[ItemError] = []
    for index, raw in enumerate(items):
        try:
            item, extra = decode(bytes(raw))
        except MillstreamError as error:
            errors.append(ItemError(index, error.message, str(error.details.get("field", ""))))
        else:
            good.append(item)
            extras.append(extra)
    return good, extras, errors


def field_error(error: msgspec.ValidationError) -> ValidationFailed:
    """The decoder's message as a field error: its path without the leading `$.`."""
    text = str(error)
    if missing := re.search(r"missing required field `([^`]+)`", text):
        return ValidationFailed(f"`{missing[1]}` is missing; every item needs it.", details={"field": missing[1]})
    path = re.search(r" - at `\$\.?([^`]*)`", text)
    field = path[1] if path else ""
    problem = text.partition(" - at ")[0]
    return ValidationFailed(f"`{field}` is wrong: {problem}." if field else f"The item is wrong: {problem}.", details={"field": field})


def _parse_time(text: str, field: str) -> dt.datetime:
    """One ISO 8601 time; without a zone it is UTC, digits beyond microseconds are cut."""
    try:
        time = dt.datetime.fromisoformat(text)
        return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise ValidationFailed(f"`{field}` must be an ISO 8601 time such as 2026-01-31T12:00:00Z, not {text[:64]!r}.", details={"field": field}) from error


def times_of_few(stamps: Sequence[str | None], field: str, default_us: int) -> list[int]:
    """`times_of`, one by one: below some ten texts calling Arrow costs more than they do."""
    return [default_us if text is None else _micros(_parse_time(text, field)) for text in stamps]


def times_of(stamps: Sequence[str | None], field: str, default_us: int = 0) -> npt.NDArray[np.int64]:
    """ISO 8601 texts as microseconds since the epoch, None as the default. Raises ValidationFailed when one cannot be read."""
    if len(stamps) < FEW:
        return np.array(times_of_few(stamps, field, default_us), dtype=np.int64)
    texts = pa.array(stamps, pa.string())
    if texts.null_count == len(texts):
        return np.full(len(texts), default_us, dtype=np.int64)
    try:
        micros = texts.cast(MICROS).cast(pa.int64())
    except pa.ArrowInvalid:  # Arrow reads only the commonest shape, but reads it fast
        micros = pa.array([None if text is None else _micros(_parse_time(text, field)) for text in stamps], pa.int64())
    found: npt.NDArray[np.int64] = (pc.fill_null(micros, default_us) if micros.null_count else micros).to_numpy(zero_copy_only=False)
    return found


def check_object(raw: bytes | msgspec.Raw, field: str) -> None:
    """Raise ValidationFailed unless the JSON value is an object, null or absent."""
    if bytes(raw)[:1] not in (b"", b"{", b"n"):
        raise ValidationFailed(f"`{field}` must be an object.", details={"field": field})


_Micros = TypeVar("_Micros", int, npt.NDArray[np.int64])


def plausible(received: _Micros, settings: IngestSettings) -> tuple[_Micros, _Micros]:
    """The earliest and the latest time that is not absurdly far from the time of receipt; all in microseconds since the epoch."""
    return received - settings.max_past_s * 1_000_000, received + settings.max_future_s * 1_000_000


def quarantined(times: npt.NDArray[np.int64], received: npt.NDArray[np.int64], settings: IngestSettings) -> npt.NDArray[np.uint8]:
    """1 for times absurdly far from the time of receipt; both in microseconds since the epoch."""
    earliest, latest = plausible(received, settings)
    far: npt.NDArray[np.uint8] = ((times < earliest) | (times > latest)).astype(np.uint8)
    return far


def micros_column(times: npt.NDArray[np.int64]) -> pa.Array:
    """Microseconds since the epoch as a timestamp column in UTC."""
    return pa.array(times).view(MICROS)

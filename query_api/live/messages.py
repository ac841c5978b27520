"""The messages of a live connection, both ways; each is one JSON object with a `type`."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
from msgspec import Meta

from infra.runtime.errors import MillstreamError
from query_api.live.outbox import Pending
from query_api.readers.window_state import WindowState

Subject = Annotated[str, Meta(min_length=1, max_length=1_000)]
LiveKind = Literal["assignments", "cardinality", "cost", "significance", "evaluation", "flow"]
LiveGrain = Literal["1m", "5m", "1h", "1d", "all"]


class Authenticate(msgspec.Struct, tag="authenticate", frozen=True):
    """The first message, when no key came in a header."""

    key: str

    def __repr__(self) -> str:
        return "Authenticate(key=...)"


class Subscribe(msgspec.Struct, tag="subscribe", frozen=True):
    """Asks for a snapshot of a subject's windows and every revision after it; `flow` asks for what flows now."""

    kind: LiveKind
    subject: Subject = "*"
    """`*` means every subject of the tenant."""
    grain: LiveGrain | None = None
    from_revision: Annotated[int, Meta(ge=0)] | None = None
    """Resume: the snapshot carries only what is newer. Needs a subject."""


class Unsubscribe(msgspec.Struct, tag="unsubscribe", frozen=True):
    """Ends a subscription; the fields are those it was made with."""

    kind: LiveKind
    subject: Subject = "*"
    grain: LiveGrain | None = None


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Asks for a `pong`."""


Request = Authenticate | Subscribe | Unsubscribe | Ping
_decoder: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)


def decode_request(text: str) -> Request:
    """Raises msgspec.MsgspecError for what is not a request."""
    return _decoder.decode(text)


def encode(type: str, **values: Any) -> bytes:
    """A message of the server."""
    return orjson.dumps({"type": type, **values})


def encode_state(pending: Pending) -> bytes:
    """An update. The state's own text was made once for all clients."""
    return b'{"type":"update","skipped":%d,"window":%b}' % (pending.skipped, pending.state.encoded)


def encode_snapshot(about: dict[str, Any], states: Sequence[WindowState], *, last: bool, truncated: bool) -> bytes:
    """One part of a snapshot; the part with `last` ends it."""
    return orjson.dumps({"type": "snapshot", **about, "windows": [orjson.Fragment(state.encoded) for state in states], "last": last, "truncated": truncated})


def encode_error(error: MillstreamError, about: dict[str, Any] | None = None) -> bytes:
    """What went wrong, and with which request."""
    return encode("error", code=error.code, message=error.message, retryable=error.kind.retryable, details=error.details, request=about)

"""Messages of Phoenix Channels as they go over the wire, versions 1 and 2 of its JSON serializer (phoenix 1.7, `Phoenix.Socket.V2.JSONSerializer`)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from infra.runtime.errors import InvalidArgument

JOIN: Final = "phx_join"
LEAVE: Final = "phx_leave"
CLOSE: Final = "phx_close"
REPLY: Final = "phx_reply"
HEARTBEAT: Final = "heartbeat"
SYSTEM_TOPIC: Final = "phoenix"
"""Where heartbeats go."""

Payload = Mapping[str, Any]


class Message(NamedTuple):
    """One message, either way."""

    join_ref: str | None
    """Which join of the topic it belongs to; the client numbers them."""
    ref: str | None
    """What the reply repeats."""
    topic: str
    event: str
    payload: Payload


class _First(msgspec.Struct):
    topic: str
    event: str
    payload: dict[str, Any]
    ref: str | None = None
    join_ref: str | None = None


_second = msgspec.json.Decoder(tuple[str | None, str | None, str, str, dict[str, Any]])
_first = msgspec.json.Decoder(_First)


class Serializer:
    """One version of the protocol."""

    def __init__(self, version: str) -> None:
        """`version` is what the client names as `vsn`; without one it speaks version 1. Raises InvalidArgument for another one."""
        major = version.partition(".")[0] or "1"
        if major not in ("1", "2"):
            raise InvalidArgument(f"vsn {version[:20]} is not spoken here; 1.0.0 and 2.0.0 are")
        self._arrays = major == "2"

    def decode(self, text: str | bytes) -> Message:
        """Raises InvalidArgument for what is no message; binary ones carry nothing that a channel here takes."""
        if isinstance(text, bytes):
            raise InvalidArgument("channels here take messages as text")
        try:
            if self._arrays:
                return Message(*_second.decode(text))
            first = _first.decode(text)
            return Message(first.join_ref, first.ref, first.topic, first.event, first.payload)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InvalidArgument(f"not a message of a channel: {error}") from None

    def encode(self, message: Message) -> str:
        """The text frame of a message."""
        return orjson.dumps(list(message) if self._arrays else message._asdict()).decode()


def reply(to: Message, response: Payload, *, ok: bool = True) -> Message:
    """The answer to a message."""
    return Message(to.join_ref, to.ref, to.topic, REPLY, {"status": "ok" if ok else "error", "response": response})

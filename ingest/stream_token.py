"""What a browser's EventSource proves itself with, since it sends no headers: a token in the URL that opens only the stream of flag changes.

It is signed with the stored hash of the API key it was made for. So every ingest process accepts it without a secret of its own, it ends
with the key, and the key cannot be made from it.
"""

import base64
import binascii
import hmac

import msgspec

from schemas.definition_kinds import Key
from schemas.definitions import Definitions

SLOT_S = 3_600
"""Tokens made within the same hour are equal, so that a client's URL stays the same; they hold until the end of the next hour."""

_Claims = tuple[str, str, int]
_decode = msgspec.json.Decoder(_Claims).decode


def slot(now_us: int) -> int:
    """The number of the hour that tokens made now belong to."""
    return now_us // 1_000_000 // SLOT_S


def make_token(key: Key, now_us: int) -> str:
    """A token for the holder of a key. Safe in URLs."""
    payload = msgspec.json.encode((key.tenant, key.id, slot(now_us)))
    return f"{_text(payload)}.{_text(_signature(key, payload))}"


def key_of_token(definitions: Definitions, token: str, now_us: int) -> Key | None:
    """The key that a token was made for; None when the token is wrong or over, or the key is no longer valid. Any text may be asked for."""
    first, _, second = token.partition(".")
    try:
        payload, signature = _bytes(first), _bytes(second)
        tenant, key_id, made_in = _decode(payload)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        return None
    key = definitions.valid_key(tenant, key_id, now_us)
    if key is None or not hmac.compare_digest(_signature(key, payload), signature):
        return None
    return key if 0 <= slot(now_us) - made_in <= 1 else None


def _signature(key: Key, payload: bytes) -> bytes:
    return hmac.digest(key.sha256.encode(), b"flag stream\0" + payload, "sha256")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))

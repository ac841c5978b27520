"""Tokens that stand for an API key where the key itself should not be: for one purpose and until a time.

They are signed with the stored hash of the key. So every process that knows the definitions accepts them without a secret of its own, they end
with the key, and the key cannot be made from them.
"""

import base64
import binascii
import hmac

import msgspec

from schemas.definition_kinds import Key
from schemas.definitions import Definitions

_Claims = tuple[str, str, int]
"""Tenant, id of the key, and the second since the epoch with which the token ends."""
_decode = msgspec.json.Decoder(_Claims).decode


def make_token(key: Key, purpose: str, until_s: int) -> str:
    """A token for the holder of a key, valid before `until_s`, in seconds since the epoch. Letters, digits, `-`, `_` and one `.`, so safe in URLs and cookies.

    `purpose` is text without NUL; a token of one purpose is none of another.
    """
    payload = msgspec.json.encode((key.tenant, key.id, until_s))
    return f"{_text(payload)}.{_text(_signature(key, purpose, payload))}"


def key_of_token(definitions: Definitions, token: str, purpose: str, now_us: int) -> Key | None:
    """The key that a token was made for; None when the token is wrong or over, or the key is no longer valid. Any text may be asked for."""
    first, _, second = token.partition(".")
    try:
        payload, signature = _bytes(first), _bytes(second)
        tenant, key_id, until_s = _decode(payload)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        return None
    key = definitions.valid_key(tenant, key_id, now_us)
    if key is None or not hmac.compare_digest(_signature(key, purpose, payload), signature):
        return None
    return key if now_us < until_s * 1_000_000 else None


def _signature(key: Key, purpose: str, payload: bytes) -> bytes:
    return hmac.digest(key.sha256.encode(), purpose.encode() + b"\0" + payload, "sha256")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))

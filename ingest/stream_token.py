"""What a browser's EventSource proves itself with, since it sends no headers: a token in the URL that opens only the stream of flag changes."""

from schemas import signed_token
from schemas.definition_kinds import Key
from schemas.definitions import Definitions

SLOT_S = 3_600
"""Tokens made within the same hour are equal, so that a client's URL stays the same; they hold until the end of the next hour."""
_PURPOSE = "flag stream"


def slot(now_us: int) -> int:
    """The number of the hour that tokens made now belong to."""
    return now_us // 1_000_000 // SLOT_S


def make_token(key: Key, now_us: int) -> str:
    """A token for the holder of a key. Safe in URLs."""
    return signed_token.make_token(key, _PURPOSE, (slot(now_us) + 2) * SLOT_S)


def key_of_token(definitions: Definitions, token: str, now_us: int) -> Key | None:
    """The key that a token was made for; None when the token is wrong or over, or the key is no longer valid. Any text may be asked for."""
    return signed_token.key_of_token(definitions, token, _PURPOSE, now_us)

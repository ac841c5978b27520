"""The form of an API key: how one is made, taken apart and stored.

A key made here reads `ms_<id>_<secret>`: the id names the key in lists and logs, the secret carries 43 characters of
base64url, 256 random bits. What is stored is the SHA-256 of the whole text. A plain hash is enough because the
secret is random; the lookup goes by hash, so the time it takes says nothing about the secret.
"""

import hashlib
import re
import secrets
import string
from typing import NamedTuple

KEY_PREFIX = "ms_"
KEY_ID_LENGTH = 12
PRESET_MIN_LENGTH = 16
"""Shortest text accepted as a key that an operator chose."""

_ID_ALPHABET = string.ascii_lowercase + string.digits
_FORM = re.compile(r"ms_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")


class KeyText(NamedTuple):
    """The parts of a key of the made form."""

    id: str
    """Public: may be listed and logged."""
    secret: str
    """Private: never stored, listed or logged."""


def make_key() -> str:
    """A new key text, different each time; 256 bits from the system's random source."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(KEY_ID_LENGTH))
    return f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(32)}"


def parse_key(text: str) -> KeyText | None:
    """The parts of a key of the made form, or None: presets of operators may have any form."""
    found = _FORM.fullmatch(text)
    return KeyText(found[1], found[2]) if found else None


def hash_secret(text: str) -> str:
    """SHA-256 of the whole key text, 64 hex digits. Any text is accepted."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def preset_id(text: str) -> str:
    """The id of a key an operator chose: the same text gives the same id, and the id gives nothing away that the
    stored hash would not."""
    return "preset" + hash_secret(text)[:6]

"""Opaque cursors: the place of the last row of a page, so that the next page goes on behind it whatever was added meanwhile."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeVar

import msgspec

from infra.runtime.errors import ValidationFailed

Place = TypeVar("Place")


def encode_cursor(place: tuple[str | int, ...]) -> str:
    """Text for the next request; safe in a URL."""
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode_cursor(text: str, form: type[Place]) -> Place:
    """The place a cursor names. Raises ValidationFailed for anything this list did not hand out."""
    try:
        return msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=form)
    except (ValueError, msgspec.MsgspecError):
        message = "is not one that this list returned; start again without it"
        raise ValidationFailed(f"the cursor {message}", details={"cursor": [message]}) from None

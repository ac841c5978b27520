"""JSON values that are stored as text and go out as they are."""

from typing import Any

import orjson

from infra.runtime.errors import ValidationFailed


def json_text(value: Any, path: str) -> str:
    """The JSON of a value. Raises ValidationFailed for what is no JSON or cannot be read by every client: integers of more than 64 bits, halves of
    surrogate pairs and very deep nesting. NaN and infinite numbers become null."""
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise ValidationFailed(f"{path}: {error}; send such a value as a text") from error

"""JSON values of any shape, as definitions may carry them: what every reader and store takes."""

import math
from typing import Any, Final

from query_api.domain.change import wrong_field

MAX_DEPTH: Final = 32
"""Levels of lists and objects inside each other."""
_LARGEST: Final = 2**63 - 1


def check_json(value: Any, path: str, depth: int = MAX_DEPTH) -> None:
    """Raises `ValidationFailed` for a number that is not finite or has no 64 bits, a text that is not Unicode, and too deep nesting."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise wrong_field(f"{path}: holds half of a surrogate pair, which is no character; send whole characters") from error
    elif isinstance(value, float) and not math.isfinite(value):
        raise wrong_field(f"{path}: NaN and infinite numbers are not JSON; send a text or leave it out")
    elif isinstance(value, int) and not -_LARGEST - 1 <= value <= _LARGEST:
        raise wrong_field(f"{path}: the integer has more than 64 bits; send it as a text")
    elif isinstance(value, list | dict):
        if depth == 0:
            raise wrong_field(f"{path}: nests deeper than {MAX_DEPTH} levels; flatten it")
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str):
                check_json(key, path, depth)
            check_json(each, f"{path}.{key}" if isinstance(key, str) else f"{path}[{key}]", depth - 1)

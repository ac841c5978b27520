"""How a span filter reads values whose type only the stored value knows.

- **There** is any value but null. A name under which there are only longer names (`llm.input_messages`) is there too: it is a branch.
- **As text** a value is itself when it is a text, `true` or `false`, or a number in its shortest decimal form (`number_text`).
- **As a number** a finite number is itself and a text counts when it reads as a decimal number; booleans are no numbers.
- **As a boolean** count true and false, the texts `true` and `false` in any case, and the numbers 1 and 0.
- Lists, objects and branches are neither; they contain a text when one of the texts directly in them does.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from schemas.any_value import Value
from schemas.openinference import LEAVES, holds_json, sources
from schemas.span_filter.tree import Path

MAX_MEMBERS: Final = 256
"""How many members of a nested list or object are looked at for a text."""
DECIMAL: Final = r"^ *[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)? *$"
"""A text that reads as a number. Spaces around it are allowed in data."""
MAX_LEVELS: Final = 2
"""How many levels of lists and objects inside each other are looked into, other than those of a JSON text."""
_DECIMAL: Final = re.compile(DECIMAL)
_SMALLEST, _LARGEST = 1e-6, 1e21
"""Between them a number is written without an exponent."""


class Branch:
    """What is at a name that is only the beginning of longer names."""

    def __init__(self, leaves: Iterable[Value]) -> None:
        self.leaves = list(leaves)


def at(attributes: Mapping[str, Value], path: Path) -> Value | Branch:
    """What is there; None when nothing is. A name of the conventions is a whole name; any other may lead into a nested value, the longest stored name first."""
    name = dotted(path)
    for source in sources(name):
        if (found := attributes.get(source)) is not None:
            return found
    if name in LEAVES:
        return None
    for length in range(len(path) - 1, 0, -1):
        prefix = dotted(path[:length])
        if (found := attributes.get(prefix)) is not None:
            value = _parsed(found) if holds_json(prefix) else found
            return descend(value, path[length:]) if value is not found or len(path) - length <= MAX_LEVELS else None
    leaves = [value for key, value in attributes.items() if key.startswith(f"{name}.") and value is not None]
    return Branch(leaves) if leaves else None


def descend(value: Value, path: Path) -> Value:
    """What a path leads to from a value; None when that is nothing."""
    for step in path:
        match value, step:
            case dict(), str():
                value = value.get(step)
            case list(), int():
                value = value[step] if step < len(value) else None
            case _:
                return None
    return value


def dotted(path: Path) -> str:
    """The flat name of a path."""
    return ".".join(str(step) for step in path)


def as_text(value: Value | Branch) -> str | None:
    """The value as text; None where it has none."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return number_text(value) if math.isfinite(value) else None
    return None


def as_number(value: Value | Branch) -> float | None:
    """The value as a number; None where it is none."""
    match value:
        case bool():
            return None
        case int() | float():
            return float(value) if math.isfinite(value) else None
        case str():
            return decimal(value)
    return None


def as_boolean(value: Value | Branch) -> bool | None:
    """The value as a boolean; None where it is none."""
    match value:
        case bool():
            return value
        case int() | float():
            return {1.0: True, 0.0: False}.get(float(value))
        case str():
            return {"true": True, "false": False}.get(value.lower())
    return None


def decimal(text: str) -> float | None:
    """The number a text spells; None where it spells none, or one that is not finite."""
    if not _DECIMAL.match(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def texts(value: Value | Branch) -> list[str]:
    """The texts in which a piece of text is looked for."""
    match value:
        case Branch():
            return [leaf for leaf in value.leaves if isinstance(leaf, str)]
        case list():
            return [item for item in value[:MAX_MEMBERS] if isinstance(item, str)]
        case dict():
            return [item for item in list(value.values())[:MAX_MEMBERS] if isinstance(item, str)]
    text = as_text(value)
    return [] if text is None else [text]


def number_text(number: float) -> str:
    """The shortest decimal form: 1, 0.5, 1e-7, 1e21."""
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    digits, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = digits.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    figures = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(figures)
    figures = figures.rstrip("0")
    sign = "-" if number < 0 else ""
    if _SMALLEST <= abs(number) < _LARGEST:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{figures}"
        return f"{sign}{figures[:point].ljust(point, '0')}{'.' if len(figures) > point else ''}{figures[point:]}"
    return f"{sign}{figures[0]}{'.' if len(figures) > 1 else ''}{figures[1:]}e{point - 1}"


def _parsed(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    try:
        parsed: Value = orjson.loads(value)
    except ValueError:
        return None
    return parsed

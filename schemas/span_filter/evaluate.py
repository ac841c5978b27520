"""Whether a span in memory meets a condition, by the rules that the SQL of the readers follows: a null is neither true nor false."""

import math
import operator as op
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from schemas.any_value import Value
from schemas.span_filter.tree import (
    All,
    Always,
    Annotated,
    Arithmetic,
    Attribute,
    Cast,
    Comparison,
    Condition,
    Constant,
    Contains,
    Expression,
    Field,
    HasParent,
    Joined,
    Kind,
    Missing,
    Negative,
    Not,
    OneOf,
    Result,
    Some,
)
from schemas.span_filter.values import Branch, as_boolean, as_number, as_text, at, texts

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {"==": op.eq, "!=": op.ne, "<": op.lt, "<=": op.le, ">": op.gt, ">=": op.ge}
_ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {"+": op.add, "-": op.sub, "*": op.mul, "/": op.truediv, "%": math.fmod}
_STATUS: Final = ("UNSET", "OK", "ERROR")


@dataclass(frozen=True)
class Note:
    """An annotation of a span or its trace."""

    name: str
    label: str | None = None
    score: float | None = None
    explanation: str | None = None
    about: str = "span"


@dataclass(frozen=True)
class Facts:
    """What a condition can ask about a span."""

    trace_id: str
    span_id: str
    parent_id: str | None
    """None for a root."""
    name: str
    span_kind: str
    status_code: int
    """As OTLP counts: 0 unset, 1 ok, 2 error."""
    status_message: str
    start_ns: int
    end_ns: int
    """0 while the span still runs."""
    attributes: Mapping[str, Value]
    """As they were sent, by their flat names."""
    notes: Sequence[Note] = ()
    has_parent: bool | None = None
    """Whether the parent is stored; None where that is not known."""
    cumulative: Mapping[str, float] = field(default_factory=dict)
    """Tokens of the span and everything below it, by `prompt`, `completion` and `total`."""


def matches(condition: Condition, span: Facts) -> bool:
    """Whether the condition is true. Where several annotations of the span have a name the condition uses, one for which it is true suffices."""
    wanted = sorted(set(_annotations(condition)))
    choices: list[Sequence[Note | None]] = [[note for note in span.notes if (note.about, note.name) == each] or [None] for each in wanted]
    return any(_Reading(span, dict(zip(wanted, chosen, strict=True))).holds(condition) is True for chosen in product(*choices))


class _Reading:
    """One span with one annotation of each name."""

    def __init__(self, span: Facts, notes: Mapping[tuple[str, str], Note | None]) -> None:
        self._span = span
        self._notes = notes

    def holds(self, condition: Condition) -> bool | None:
        match condition:
            case Always(value=value):
                return value
            case All(parts=parts):
                held = [self.holds(part) for part in parts]
                return False if False in held else None if None in held else True
            case Some(parts=parts):
                held = [self.holds(part) for part in parts]
                return True if True in held else None if None in held else False
            case Not(part=part):
                inner = self.holds(part)
                return None if inner is None else not inner
            case Missing(operand=operand):
                return self._value(operand) is None
            case Annotated(about=about, name=name):
                return self._notes[about, name] is not None
            case HasParent():
                return self._span.has_parent
            case Contains(part=part, whole=whole):
                return self._contains(as_text(self._value(part)), self._value(whole))
            case OneOf(kind=kind, operand=operand, values=values):
                return self._any(kind, self._value(operand), values)
            case Comparison():
                return _compare(condition.operator, condition.kind, self._value(condition.left), self._value(condition.right))

    @staticmethod
    def _contains(part: str | None, whole: Any) -> bool | None:
        if part is None or whole is None:
            return None
        return any(part.lower() in text.lower() for text in texts(whole))

    @staticmethod
    def _any(kind: Kind, value: Any, wanted: Sequence[Any]) -> bool | None:
        held = [_compare("==", kind, value, each) for each in wanted]
        return None if None in held else any(held)

    def _value(self, expression: Expression) -> Any:
        match expression:
            case Constant(value=value):
                return value
            case Field(name=name):
                return _field(self._span, name)
            case Attribute(path=path):
                return at(self._span.attributes, path)
            case Result(about=about, name=name, member=member):
                note = self._notes[about, name]
                return None if note is None else getattr(note, member)
            case Cast(to=to, operand=operand):
                return as_number(self._value(operand)) if to == "number" else as_text(self._value(operand))
            case Negative(operand=operand):
                number = as_number(self._value(operand))
                return None if number is None else -number
            case Joined(left=left, right=right):
                first, second = as_text(self._value(left)), as_text(self._value(right))
                return None if first is None or second is None else first + second
            case Arithmetic(operator=operator, left=left, right=right):
                return _calculated(operator, as_number(self._value(left)), as_number(self._value(right)))


def _annotations(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, Result | Annotated):
        yield node.about, node.name
    elif isinstance(node, tuple):
        for part in node:
            yield from _annotations(part)
    elif hasattr(node, "__dataclass_fields__"):
        for name in node.__dataclass_fields__:
            yield from _annotations(getattr(node, name))


def _field(span: Facts, name: str) -> Any:
    if name.startswith("cumulative_"):
        return span.cumulative.get(name.rpartition("_")[2])
    match name:
        case "start_time":
            return span.start_ns
        case "end_time":
            return span.end_ns or None
        case "latency_ms":
            return (span.end_ns - span.start_ns) / 1e6 if span.end_ns else None
        case "status_code":
            return _STATUS[span.status_code] if 0 <= span.status_code < len(_STATUS) else _STATUS[0]
        case "span_kind":
            return span.span_kind.upper() or "UNKNOWN"
        case "parent_id":
            return span.parent_id or None
    return getattr(span, name)


def _calculated(operator: str, left: float | None, right: float | None) -> float | None:
    if left is None or right is None or (operator in "/%" and right == 0):
        return None
    try:
        result = _ARITHMETIC[operator](left, right)
    except (OverflowError, ValueError):
        return None
    return result if math.isfinite(result) else None


def _compare(operator: str, kind: Kind, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    match kind:
        case "number":
            first, second = as_number(left), as_number(right)
            return None if first is None or second is None else _COMPARE[operator](first, second)
        case "boolean":
            yes, other = as_boolean(left), as_boolean(right)
            return None if yes is None or other is None else _COMPARE[operator](yes, other)
        case "time":
            return _COMPARE[operator](left, right)
        case "text" if operator not in ("==", "!="):
            return _COMPARE[operator](left, right) if isinstance(left, str) and isinstance(right, str) else None
    return _same(left, right) == (operator == "==")


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, list | dict | Branch) or isinstance(right, list | dict | Branch):
        return False
    if isinstance(left, bool) or isinstance(right, bool) or isinstance(left, str) or isinstance(right, str):
        return type(left) is type(right) and bool(left == right)
    first, second = as_number(left), as_number(right)
    return first is not None and first == second

"""Who something is meant for: conditions on the attributes of a unit, nested with and/or.

How a condition reads the attribute it names:

- A missing attribute, and one that is null, satisfies only `not_exists` and the negations (`not_equals`, `not_in`, `not_contains`,
  `not_regex`), each of which is exactly the opposite of its positive form.
- `equals` and `in` compare JSON values of one type: 1 is 1.0, but neither "1" nor true. Case counts. An attribute that is a list is
  `in` when one of its elements is.
- `contains` finds a piece of a text, or an element of a list. `regex` finds a match anywhere in a text; the syntax is that of RE2, whose
  time is linear in the text.
- `greater_than` and its relatives compare numbers. A text that reads as a decimal number counts as that number, any other never matches.
- `semver_...` compares versions by Semantic Versioning 2.0.0, `before` and `after` ISO 8601 times (without a zone: UTC).
"""

import operator as op
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal

import msgspec
import re2

from schemas.semver import Precedence, precedence

Operator = Literal[
    "equals", "not_equals", "in", "not_in", "contains", "not_contains", "starts_with", "ends_with", "regex", "not_regex",
    "greater_than", "greater_or_equal", "less_than", "less_or_equal",
    "semver_equals", "semver_greater_than", "semver_greater_or_equal", "semver_less_than", "semver_less_or_equal",
    "before", "after", "exists", "not_exists",
    "and", "or",
]  # fmt: skip
MAX_DEPTH = 8
"""Most levels of `and` and `or` inside each other, the conditions themselves counted."""
MAX_CONDITIONS = 200
MAX_LIST = 10_000
"""Most elements of the list of `in` and `not_in`."""
MAX_PATTERN = 500
"""Longest regular expression, in characters."""
MAX_NAME = 200
"""Longest name of an attribute, in characters."""


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One condition, or, with the operator `and` or `or`, several of them."""

    operator: Operator = "and"
    attribute: str = ""
    """Attribute of the unit; a dot goes into nested objects. Empty for `and` and `or`."""
    value: Any = None
    """What the attribute is compared with; a list for `in` and `not_in`."""
    rules: tuple["Rule", ...] = ()
    """Parts of an `and` or `or`. None at all hold for everybody."""


Context = Mapping[str, Any]
"""The attributes of a unit, JSON values by name."""
Matcher = Callable[[Context], bool]

_Test = Callable[[Any], bool]
"""Whether the value of an attribute satisfies a condition; None stands for a missing one."""

_GROUPS: Final = ("and", "or")
_OPPOSITE: Final[Mapping[str, Operator]] = {
    "not_equals": "equals",
    "not_in": "in",
    "not_contains": "contains",
    "not_regex": "regex",
    "not_exists": "exists",
}
_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "equals": op.eq,
    "greater_than": op.gt,
    "greater_or_equal": op.ge,
    "less_than": op.lt,
    "less_or_equal": op.le,
    "before": op.lt,
    "after": op.gt,
}
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_PATTERN_OPTIONS = re2.Options()
_PATTERN_OPTIONS.log_errors = False
_PATTERN_OPTIONS.never_capture = True
_PATTERN_OPTIONS.max_mem = 1 << 20


def check(rule: Rule, path: str = "") -> None:
    """Raise ValueError with the path and the fix when a rule cannot be used. `path` is where the rule stands, empty for the top."""
    if _count(rule, path, MAX_DEPTH) > MAX_CONDITIONS:
        raise ValueError(_at(path, f"there are more than {MAX_CONDITIONS} conditions; write several values as one `in`"))


def compiled(rule: Rule) -> Matcher:
    """The rule as a function of a context: fast, and never raises whatever the context holds. Raises ValueError for a rule that `check` refuses."""
    if rule.operator not in _GROUPS:
        return _condition(_getter(rule.attribute), _test(rule.operator, rule.value))
    parts = tuple(compiled(part) for part in rule.rules)
    if len(parts) < 2:
        return parts[0] if parts else _everybody
    return partial(_all, parts) if rule.operator == "and" else partial(_any, parts)


def matches(rule: Rule, context: Context) -> bool:
    """Whether a unit is meant. Compiles the rule; use `compiled` for more than one unit."""
    return compiled(rule)(context)


def _at(path: str, problem: str) -> str:
    return f"{path}: {problem}" if path else problem


def _count(rule: Rule, path: str, levels: int) -> int:
    if levels == 0:
        raise ValueError(_at(path, f"`and` and `or` nest deeper than {MAX_DEPTH} levels; flatten them"))
    if rule.operator in _GROUPS:
        if rule.attribute or rule.value is not None:
            raise ValueError(_at(path, f"`{rule.operator}` joins `rules` and has neither `attribute` nor `value`; put the condition into `rules`"))
        return sum(_count(part, f"{path}.rules[{place}]".lstrip("."), levels - 1) for place, part in enumerate(rule.rules))
    if rule.rules:
        raise ValueError(_at(path, f"`{rule.operator}` has no `rules`; only `and` and `or` do"))
    if not 0 < len(rule.attribute) <= MAX_NAME:
        raise ValueError(_at(f"{path}.attribute".lstrip("."), f"name the attribute to look at, in at most {MAX_NAME} characters"))
    try:
        _test(rule.operator, rule.value)
    except ValueError as error:
        raise ValueError(_at(f"{path}.value".lstrip("."), str(error))) from error
    return 1


def _everybody(_: Context) -> bool:
    return True


def _all(parts: tuple[Matcher, ...], context: Context) -> bool:
    for part in parts:  # noqa: SIM110 - a generator costs more than the conditions
        if not part(context):
            return False
    return True


def _any(parts: tuple[Matcher, ...], context: Context) -> bool:
    for part in parts:  # noqa: SIM110 - a generator costs more than the conditions
        if part(context):
            return True
    return False


def _condition(get: Callable[[Context], Any], test: _Test) -> Matcher:
    return lambda context: test(get(context))


def _getter(attribute: str) -> Callable[[Context], Any]:
    if "." not in attribute:
        return lambda context: context.get(attribute)
    steps = attribute.split(".")

    def get(context: Context) -> Any:
        if attribute in context:
            return context[attribute]
        value: Any = context
        for step in steps:
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
        return value

    return get


def _test(operator: str, value: Any) -> _Test:
    """The test of one condition. Raises ValueError, without a path, when the value does not fit the operator."""
    if operator in _OPPOSITE:
        positive = _test(_OPPOSITE[operator], value)
        return lambda given: not positive(given)
    if operator == "exists":
        if value not in (None, True):
            raise ValueError("this operator compares with nothing; leave the value away")
        return lambda given: given is not None
    if operator == "equals":
        wanted = _scalar(value)
        return lambda given: given is not None and _typed(given) == wanted
    if operator == "in":
        return _in(value)
    if operator in ("contains", "starts_with", "ends_with", "regex"):
        return _text_test(operator, value)
    if operator.startswith("semver_"):
        return _ordered(_version, value, _ORDERS[operator.removeprefix("semver_")], "a version such as 1.4.0 (semver.org)")
    if operator in ("before", "after"):
        return _ordered(_time, value, _ORDERS[operator], "an ISO 8601 time such as 2026-01-31T12:00:00Z")
    return _ordered(_number, value, _ORDERS[operator], "a number")


def _ordered(read: Callable[[Any], Any], value: Any, order: Callable[[Any, Any], bool], wanted: str) -> _Test:
    limit = read(value)
    if limit is None:
        raise ValueError(f"must be {wanted}, not {_shown(value)}")

    def test(given: Any) -> bool:
        found = read(given)
        return found is not None and order(found, limit)

    return test


def _text_test(operator: str, value: Any) -> _Test:
    if operator == "contains" and not isinstance(value, str):
        wanted = _scalar(value)
        return lambda given: isinstance(given, list) and any(_typed(each) == wanted for each in given)
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a text that is not empty, not {_shown(value)}")
    if operator == "contains":
        return lambda given: value in given if isinstance(given, str | list) else False
    if operator == "starts_with":
        return lambda given: isinstance(given, str) and given.startswith(value)
    if operator == "ends_with":
        return lambda given: isinstance(given, str) and given.endswith(value)
    if len(value) > MAX_PATTERN:
        raise ValueError(f"the regular expression has more than {MAX_PATTERN} characters; shorten it or split it with `or`")
    try:
        found = re2.compile(value.encode(), _PATTERN_OPTIONS).search
    except (re2.error, UnicodeEncodeError) as error:
        raise ValueError(f"not a regular expression of RE2 (https://github.com/google/re2/wiki/Syntax): {_reason(error)}") from error
    return lambda given: isinstance(given, str) and found(given.encode("utf-8", "surrogatepass")) is not None


def _in(value: Any) -> _Test:
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of values, not {_shown(value)}; for a single value use `equals`")
    if len(value) > MAX_LIST:
        raise ValueError(f"the list has {len(value)} values; the limit is {MAX_LIST}")
    wanted = frozenset(_scalar(each) for each in value)

    def test(given: Any) -> bool:
        if isinstance(given, list):
            return any(_typed(each) in wanted for each in given)
        return given is not None and _typed(given) in wanted

    return test


def _typed(value: Any) -> Any:
    """A value that equals another one only within its JSON type; objects and lists equal nothing."""
    if isinstance(value, bool):
        return "true" if value else "false", bool
    if isinstance(value, str | int | float):
        return value
    return None


def _scalar(value: Any) -> Any:
    typed = _typed(value)
    if typed is None:
        raise ValueError(
            f"must be a text, a number, true or false, not {_shown(value)}" + ("; for a missing attribute use `not_exists`" if value is None else "")
        )
    return typed


def _number(value: Any) -> float | None:
    if isinstance(value, str) and len(value) <= 64 and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _version(value: Any) -> Precedence | None:
    return precedence(value) if isinstance(value, str) else None


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode() if value is not None else "nothing"
    return text if len(text) <= 64 else text[:61] + "..."


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)

"""Reads a filter condition: a subset of Python's expressions. It is parsed and never run.

A condition is made of comparisons (also chained), `in` and `not in`, `is None`, `and`, `or`, `not`, and of annotations standing alone, which
ask whether there is one. Operands are fields, attributes (`llm.model_name`, `attributes['a']['b']`, `metadata['k']`), the results of
annotations (`annotations['name'].score`, also `evals` and `trace_annotations`), literals, arithmetic, and the casts `float`, `int` and `str`.
"""

import ast
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher, get_close_matches
from typing import Final, cast

from schemas.span_filter.names import ACCESSORS, ALIASES, CAPITALS, CASTS, FIELDS, MEMBERS, NUMBERS, PARENT
from schemas.span_filter.source import Source
from schemas.span_filter.tree import (
    About,
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
    Path,
    Result,
    Some,
    kind_of,
)
from schemas.span_filter.values import MAX_MEMBERS, decimal, dotted

_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_ARITHMETIC: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"}
_CLOSE: Final = 0.8
"""How alike a bare name must be to a field's for a slip of the pen."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse(text: str) -> Condition:
    """The condition a text states. Raises FilterError."""
    reader = _Reader(text)
    condition = reader.condition(reader.body, 0)
    if isinstance(condition, Always) and isinstance(reader.body, ast.Constant):
        reader.fail(reader.body, "a condition that is the same for every span selects nothing; leave the filter out")
    return condition


def parse_reference(text: str) -> Field | Attribute | Result:
    """The one field, attribute or annotation result a text names. Raises FilterError."""
    reader = _Reader(text)
    found = reader.expression(reader.body, 0)
    if not isinstance(found, Field | Attribute | Result):
        reader.fail(reader.body, "name one field, attribute or annotation result here")
    return found


class _Reader(Source):
    def condition(self, node: ast.expr, depth: int) -> Condition:
        """The condition a node states."""
        self.count(node, depth)
        match node:
            case ast.BoolOp(op=operator, values=values):
                parts = tuple(self.condition(value, depth + 1) for value in values)
                return All(parts) if isinstance(operator, ast.And) else Some(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.condition(operand, depth + 1))
            case ast.Compare(left=left, ops=operators, comparators=others):
                operands = [left, *others]
                links = tuple(self._link(node, operator, operands[at], operands[at + 1], depth) for at, operator in enumerate(operators))
                return links[0] if len(links) == 1 else All(links)
            case ast.Constant(value=bool(value)):
                return Always(value)
            case ast.Subscript() if (name := self._annotation(node)) is not None:
                return Annotated(*name)
        found = self.expression(node, depth)
        hint = "compare it, as in" if not isinstance(found, Attribute) else "compare it or ask whether it is there, as in"
        example = f"{self.shown(node)[:-1]} {'is not None' if isinstance(found, Attribute) else '== ...'}`"
        self.fail(node, f"{self.shown(node)} is a value and no condition; {hint} {example}")

    def _link(self, whole: ast.expr, operator: ast.cmpop, left: ast.expr, right: ast.expr, depth: int) -> Condition:
        """One comparison of a chain."""
        negated = isinstance(operator, ast.NotEq | ast.IsNot | ast.NotIn)
        for one, other in ((left, right), (right, left)):
            if isinstance(one, ast.Name) and one.id == PARENT:
                if not (isinstance(operator, ast.Is | ast.IsNot | ast.Eq | ast.NotEq) and _is_none(other)):
                    self.fail(one, f"`{PARENT}` can only be compared with None; `{PARENT} is None` finds roots, orphans among them")
                return HasParent() if negated else Not(HasParent())
        if isinstance(operator, ast.Is | ast.IsNot) and not (isinstance(right, ast.Constant) and (right.value is None or isinstance(right.value, bool))):
            self.fail(right, "`is` takes None, True or False; use `==`")
        if isinstance(operator, ast.In | ast.NotIn):
            found = self._in(left, right, depth)
            return Not(found) if negated else found
        for one, other in ((left, right), (right, left)):
            if _is_none(one):
                if not isinstance(operator, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
                    self.fail(whole, "None is neither smaller nor greater than anything; use `is None` or `is not None`")
                operand = self.expression(other, depth + 1)
                return Not(Missing(operand)) if negated else Missing(operand)
        if type(operator) not in _COMPARISONS and not isinstance(operator, ast.Is | ast.IsNot):
            self.fail(whole, "no such comparison")
        sign = _COMPARISONS.get(type(operator), "!=" if negated else "==")
        return self._compared(whole, sign, (left, self.expression(left, depth + 1)), (right, self.expression(right, depth + 1)))

    def _compared(self, whole: ast.expr, sign: str, left: tuple[ast.expr, Expression], right: tuple[ast.expr, Expression]) -> Condition:
        first, second = left[1], right[1]
        if isinstance(first, Constant) and isinstance(second, Constant):
            self.fail(whole, "compares two literals; put a field or an attribute on one side")
        first, second = self._beside(left[0], first, second), self._beside(right[0], second, first)
        kinds = {_expected(first), _expected(second)}
        ordered = sign not in ("==", "!=")
        if "time" in kinds and len(kinds) > 1:
            self.fail(whole, "a time is compared with a time, or with a text such as '2026-01-01T00:00:00Z'")
        known = kinds - {"any"}
        if len(known) > 1:
            self.fail(whole, f"cannot compare {' and '.join(sorted(known))}{_unquoted(first, second)}")
        kind: Kind = known.pop() if known else "number" if ordered else "any"
        if ordered and kind == "boolean":
            self.fail(whole, "true and false have no order; use `==` or `!=`")
        return Comparison(sign, kind, first, second)  # type: ignore[arg-type]

    def _beside(self, node: ast.expr, own: Expression, other: Expression) -> Expression:
        """A literal as the field beside it needs it."""
        if isinstance(own, Constant) and isinstance(own.value, str) and isinstance(other, Field):
            if other.kind == "time":
                return Constant(self._instant(node, own.value), "time")
            if other.name in CAPITALS:
                return Constant(own.value.upper(), "text")
        return own

    def _instant(self, node: ast.expr, text: str) -> int:
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            self.fail(node, f"{self.shown(node)} is no ISO 8601 time; write '2026-01-01T00:00:00Z'")
        if instant.tzinfo is None:
            self.fail(node, f"{self.shown(node)} has no offset; add one, `Z` for UTC")
        return (instant - _EPOCH) // timedelta(microseconds=1) * 1_000

    def _in(self, left: ast.expr, right: ast.expr, depth: int) -> Condition:
        part = self.expression(left, depth + 1)
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            return self._one_of(left, part, right, depth)
        whole = self.expression(right, depth + 1)
        if isinstance(part, Constant) and isinstance(whole, Constant):
            self.fail(left, "compares two literals; put a field or an attribute on one side")
        if kind_of(whole) not in ("text", "any"):
            self.fail(right, f"`in` looks into a text or a list; {self.shown(right)} is a {kind_of(whole)}")
        if kind_of(part) not in ("text", "any"):
            self.fail(left, f"cannot look for a {kind_of(part)} in a text; write it in quotes")
        return Contains(self._beside(left, part, whole), whole)

    def _one_of(self, left: ast.expr, operand: Expression, items: ast.List | ast.Tuple | ast.Set, depth: int) -> Condition:
        if isinstance(operand, Constant):
            self.fail(left, "compares two literals; put a field or an attribute on the left")
        found: list[Constant] = []
        for item in items.elts:
            if _is_none(item):
                self.fail(item, "None is never equal to anything; use `is None` beside the list")
            value = self._beside(item, self.expression(item, depth + 1), operand)
            if not isinstance(value, Constant):
                self.fail(item, "a list holds literals only")
            found.append(value)
        if not found:
            return Always(False)
        kinds = {each.kind for each in found} | ({_expected(operand)} - {"any"})
        if len(kinds) > 1:
            self.fail(items, f"cannot compare {' and '.join(sorted(kinds))}{_unquoted(operand, *found)}")
        return OneOf(found[0].kind, operand, tuple(each.value for each in found))

    def expression(self, node: ast.expr, depth: int) -> Expression:
        """The value a node gives."""
        self.count(node, depth)
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._reference(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                value = self.expression(operand, depth + 1)
                self._needs_number(operand, value)
                if isinstance(sign, ast.UAdd):
                    return value if kind_of(value) == "number" else Cast("number", value)
                return Constant(-cast(float, value.value), "number") if isinstance(value, Constant) else Negative(value)
            case ast.BinOp(left=left, op=operator, right=right):
                return self._arithmetic(node, operator, (left, self.expression(left, depth + 1)), (right, self.expression(right, depth + 1)))
            case ast.Call():
                return self._cast(node, depth)
            case ast.List() | ast.Tuple() | ast.Set():
                self.fail(node, "a list stands only on the right of `in` and `not in`")
        self.fail(node, f"{self.shown(node)} cannot be part of a value here; a filter has comparisons, `in`, `and`, `or`, `not`, arithmetic and casts")

    def _constant(self, node: ast.Constant) -> Constant:
        match node.value:
            case bool(value):
                return Constant(value, "boolean")
            case int(value) | float(value):
                return Constant(self._finite(node, value), "number")
            case str(value):
                if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
                    self.fail(node, "a text must be whole characters and hold no NUL")
                return Constant(value, "text")
        self.fail(node, f"{self.shown(node)} is no text, number, True, False or None")

    def _finite(self, node: ast.AST, value: int | float) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail(node, "the number is beyond what 64 bits hold")
        return number

    def _arithmetic(self, node: ast.expr, operator: ast.operator, left: tuple[ast.expr, Expression], right: tuple[ast.expr, Expression]) -> Expression:
        sign = _ARITHMETIC.get(type(operator))
        if sign is None:
            self.fail(node, "arithmetic here is + - * / and %")
        first, second = left[1], right[1]
        if sign == "+" and "text" in (kind_of(first), kind_of(second)):
            for part, value in (left, right):
                if kind_of(value) not in ("text", "any"):
                    self.fail(part, f"cannot join text and a {kind_of(value)}; write `str(...)` around it")
            return Joined(first, second)
        self._needs_number(*left)
        self._needs_number(*right)
        return Arithmetic(sign, first, second)  # type: ignore[arg-type]

    def _needs_number(self, node: ast.expr, value: Expression) -> None:
        if kind_of(value) not in ("number", "any"):
            self.fail(node, f"{self.shown(node)} is a {kind_of(value)} and no number")

    def _cast(self, node: ast.Call, depth: int) -> Expression:
        if not isinstance(node.func, ast.Name) or node.func.id not in CASTS:
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            self.fail(node, f"{self.shown(node.func)} cannot be called; the casts are `float(...)`, `int(...)` and `str(...)`{_near(name, CASTS)}")
        if len(node.args) != 1 or node.keywords:
            self.fail(node, f"`{node.func.id}` takes one value")
        value = self.expression(node.args[0], depth + 1)
        if kind_of(value) in ("boolean", "time"):
            self.fail(node, f"a {kind_of(value)} cannot be cast; compare it as it is")
        if node.func.id == "str":
            return value if kind_of(value) == "text" else Cast("text", value)
        if isinstance(value, Constant) and isinstance(value.value, str):
            number = decimal(value.value)
            if number is None:
                self.fail(node, f"{self.shown(node.args[0])} does not read as a number")
            return Constant(number, "number")
        return value if kind_of(value) == "number" else Cast("number", value)

    def _reference(self, node: ast.Name | ast.Attribute | ast.Subscript) -> Expression:
        result = self._result(node)
        if result is not None:
            return result
        root, path = self._path(node)
        if root.id == PARENT:
            self.fail(root, f"`{PARENT}` can only be compared with None; an attribute of that name is `attributes['{PARENT}']`")
        if root.id in ACCESSORS:
            self.fail(root, f"`{root.id}` needs a name and one of .label, .score and .explanation: `{root.id}['quality'].score`")
        if root.id == "attributes":
            if not path:
                self.fail(root, "`attributes` needs a name: `attributes['llm.model_name']`")
            return Attribute(self._checked(node, path))
        plain = not any(isinstance(each, ast.Subscript) for each in ast.walk(node))
        name = dotted((root.id, *path))
        name = ALIASES.get(name, name)
        if plain and name in FIELDS:
            return Field(name, FIELDS[name])
        if not path and (near := _alike(root.id)):
            self.fail(root, f"unknown name `{root.id}`; did you mean `{near}`? An attribute of that name is `attributes['{root.id}']`")
        return Attribute(self._checked(node, (root.id, *path)))

    def _result(self, node: ast.expr) -> Result | None:
        match node:
            case ast.Attribute(value=ast.Subscript() as inner, attr=member) if (name := self._annotation(inner)) is not None:
                if member not in MEMBERS:
                    self.fail(node, f"an annotation has no `{member}`, but .label, .score and .explanation{_near(member, MEMBERS)}")
                return Result(*name, member)  # type: ignore[arg-type]
        return None

    def _annotation(self, node: ast.Subscript) -> tuple[About, str] | None:
        match node:
            case ast.Subscript(value=ast.Name(id=accessor), slice=key) if accessor in ACCESSORS:
                if not (isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value):
                    self.fail(key, f"`{accessor}[...]` takes the name of an annotation in quotes")
                return cast(About, ACCESSORS[accessor]), str(self._constant(key).value)
        return None

    def _path(self, node: ast.expr) -> tuple[ast.Name, Path]:
        """The name a reference begins with, and the steps behind it."""
        steps: list[Path] = []
        while not isinstance(node, ast.Name):
            self.count(node, len(steps))
            match node:
                case ast.Attribute(value=inner, attr=name):
                    steps.append((name,))
                case ast.Subscript(value=inner, slice=key):
                    steps.append(self._keys(key))
                case _:
                    self.fail(node, f"{self.shown(node)} cannot be looked into")
            node = inner
        return node, tuple(step for keys in reversed(steps) for step in keys)

    def _keys(self, node: ast.expr) -> Path:
        keys = node.elts if isinstance(node, ast.List | ast.Tuple) and node.elts else [node]
        found: list[str | int] = []
        for key in keys:
            value = key.value if isinstance(key, ast.Constant) else None
            if isinstance(value, bool) or not isinstance(value, str | int) or value == "" or (isinstance(value, int) and not 0 <= value < MAX_MEMBERS):
                self.fail(key, f"a key in brackets is a text, or a place in a list from 0 to {MAX_MEMBERS - 1}")
            found.append(value if isinstance(value, int) else str(self._constant(cast(ast.Constant, key)).value))
        return tuple(found)

    def _checked(self, node: ast.expr, path: Path) -> Path:
        if not isinstance(path[0], str):
            self.fail(node, "an attribute begins with a name")
        return path


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _expected(expression: Expression) -> Kind:
    """What an expression is compared as."""
    if isinstance(expression, Attribute) and dotted(expression.path) in NUMBERS:
        return "number"
    return kind_of(expression)


def _unquoted(*operands: Expression) -> str:
    for each in operands:
        if isinstance(each, Constant) and isinstance(each.value, str) and decimal(each.value) is not None:
            return f"; write {each.value.strip()} without quotes"
    return ""


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean `{close[0]}`?" if close else ""


def _alike(name: str) -> str | None:
    close = get_close_matches(name.lower(), [*FIELDS, PARENT, *ACCESSORS, "attributes", "metadata"], 1, _CLOSE)
    return close[0] if close and close[0] != name and SequenceMatcher(None, name.lower(), close[0]).ratio() > _CLOSE else None

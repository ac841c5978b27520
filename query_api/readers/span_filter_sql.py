"""A span filter as SQL over a row of `spans`. Everything a user wrote goes in as a server-side parameter.

What each condition means is said in `schemas.span_filter`; a test holds both to the same answers.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from query_api.readers import any_value_sql as value_sql
from schemas.any_value import encode
from schemas.openinference import LEAVES, holds_json, sources
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
from schemas.span_filter.values import DECIMAL, MAX_LEVELS, MAX_MEMBERS, dotted
from schemas.tables.spans import pair

FIELDS: Final = {
    "span_id": "span_id",
    "trace_id": "trace_id",
    "parent_id": "nullIf(parent_id, '')",
    "name": "name",
    "span_kind": "if(span_kind = '', 'UNKNOWN', upper(span_kind))",
    "status_code": "multiIf(status_code = 1, 'OK', status_code = 2, 'ERROR', 'UNSET')",
    "status_message": "status_message",
    "latency_ms": "(nullIf(toUnixTimestamp64Nano(end_time), 0) - toUnixTimestamp64Nano(start_time)) / 1e6",
    "start_time": "toUnixTimestamp64Nano(start_time)",
    "end_time": "nullIf(toUnixTimestamp64Nano(end_time), 0)",
    **{f"cumulative_llm_token_count_{part}": f"toFloat64(cumulative_{part})" for part in ("prompt", "completion", "total")},
}
"""The fields as expressions; cumulative counts are columns that the reader joins."""
_COLUMNS: Final = {"session.id": "session_id", "user.id": "user_id", "llm.model_name": "llm_model", "llm.provider": "llm_provider"}
"""Attributes whose text is a column too."""
_FOUND: Final = 2 * MAX_LEVELS + 1
"""Level at which the value of an attribute is known."""
_TYPES: Final[dict[Kind, str]] = {"text": "String", "number": "Float64", "boolean": "UInt8", "time": "Int64"}


@dataclass
class FilterSql:
    """Conditions in the making, with what they need beside a row of spans."""

    params: dict[str, Any] = field(default_factory=dict)
    """By names that begin with `f_`."""
    notes: list[tuple[About, str]] = field(default_factory=list)
    """Annotations to be joined: number N gives `note_N_there`, `_label`, `_score` and `_explanation`, null where there is none."""
    asks_parent: bool = False
    """Whether `has_parent` is needed."""
    asks_cumulative: bool = False
    """Whether `cumulative_prompt`, `cumulative_completion` and `cumulative_total` are needed."""
    levels: list[list[str]] = field(default_factory=lambda: [[] for _ in range(_FOUND + 4)])
    """`expression AS name`, level by level: each may use the columns of `spans` and the names of the levels before."""
    _attributes: dict[Path, str] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)

    def hints(self, condition: Condition) -> list[str]:
        """What holds of every row of `spans` where the condition does, in words that columns and indexes can answer; to be joined by AND."""
        return [sql for part in (condition.parts if isinstance(condition, All) else (condition,)) for sql in self._hints(part)]

    def condition(self, condition: Condition) -> str:
        """True, false or NULL."""
        match condition:
            case Always(value=value):
                return str(int(value))
            case All(parts=parts):
                return f"({' AND '.join(self.condition(part) for part in parts)})"
            case Some(parts=parts):
                return f"({' OR '.join(self.condition(part) for part in parts)})"
            case Not(part=part):
                return f"NOT ({self.condition(part)})"
            case Missing(operand=operand):
                return f"NOT ({self._there(operand)})"
            case Annotated(about=about, name=name):
                return f"isNotNull({self._note(about, name)}_there)"
            case HasParent():
                self.asks_parent = True
                return "has_parent"
            case Contains(part=part, whole=whole):
                return self._contains(self._text(part), whole)
            case OneOf(kind=kind, operand=operand, values=values):
                return self._one_of(kind, operand, self._given(list(values), f"Array({_TYPES[kind]})"))
            case Comparison():
                return self._compared(condition)

    def text(self, value: str) -> str:
        """A parameter that holds a text."""
        return self._given(value, "String")

    def texts(self, values: Sequence[str]) -> str:
        """A parameter that holds several."""
        return self._given(list(values), "Array(String)")

    def expression(self, expression: Expression) -> str:
        """The value as text, number, boolean or nanoseconds, by its kind; of an attribute the text."""
        return self._number(expression) if kind_of(expression) == "number" else self._text(expression)

    def _compared(self, wanted: Comparison) -> str:
        sign = "=" if wanted.operator == "==" else wanted.operator
        left, right = wanted.left, wanted.right
        match wanted.kind:
            case "number":
                return f"({self._number(left)} {sign} {self._number(right)})"
            case "boolean":
                return f"({self._boolean(left)} {sign} {self._boolean(right)})"
            case "time":
                return f"({self._instant(left)} {sign} {self._instant(right)})"
            case "text" if sign not in ("=", "!="):
                return f"({self._string(left)} {sign} {self._string(right)})"
        same = f"ifNull({self._string(left)} = {self._string(right)}, 0)"
        if wanted.kind == "any":
            first, second = (side.path for side in (left, right) if isinstance(side, Attribute))
            others = (f"ifNull({self._of(first, part)} = {self._of(second, part)}, 0)" for part in ("number", "flag"))
            same = f"({' OR '.join((same, *others))})"
        equal = f"if({self._there(left)} AND {self._there(right)}, {same}, NULL)"
        return equal if sign == "=" else f"NOT ({equal})"

    def _one_of(self, kind: Kind, operand: Expression, values: str) -> str:
        match kind:
            case "number":
                return _any_of(self._number(operand), values)
            case "boolean":
                return _any_of(self._boolean(operand), values)
            case "time":
                return _any_of(self._instant(operand), values)
        return f"if({self._there(operand)}, ifNull({_any_of(self._string(operand), values)}, 0), NULL)"

    def _contains(self, part: str, whole: Expression) -> str:
        if not isinstance(whole, Attribute):
            return f"(positionCaseInsensitiveUTF8({self._text(whole)}, {part}) > 0)"
        text = self._of(whole.path, "text")
        held = f"positionCaseInsensitiveUTF8({text}, {part}) > 0"
        if dotted(whole.path) not in LEAVES:
            among = f"arrayExists(t -> positionCaseInsensitiveUTF8(t, ifNull({part}, '')) > 0, {self._texts(whole.path)})"
            held = f"if(isNull({text}), {among}, {held})"
        return f"if({self._there(whole)} AND isNotNull({part}), {held}, NULL)"

    def _there(self, expression: Expression) -> str:
        """Whether there is a value; never NULL."""
        if isinstance(expression, Attribute):
            return self._of(expression.path, "there")
        return f"isNotNull({self._instant(expression) if kind_of(expression) == 'time' else self.expression(expression)})"

    def _text(self, expression: Expression) -> str:
        """As text; NULL where there is none."""
        match expression:
            case Attribute(path=path):
                return self._of(path, "text")
            case Cast(to="text", operand=operand):
                return f"toString({self._number(operand)})" if kind_of(operand) == "number" else self._text(operand)
            case Joined(left=left, right=right):
                return f"concat({self._text(left)}, {self._text(right)})"
        return self._string(expression)

    def _string(self, expression: Expression) -> str:
        """A text; NULL for anything else."""
        match expression:
            case Constant(value=value):
                return self._given(value, "String")
            case Attribute(path=path):
                return self._of(path, "string")
            case Field(name=name):
                return FIELDS[name]
            case Result(about=about, name=name, member=member):
                return f"{self._note(about, name)}_{member}"
        return self._text(expression)

    def _number(self, expression: Expression) -> str:
        """As a Float64; NULL where there is no number."""
        match expression:
            case Constant(value=value):
                return self._given(float(value), "Float64")
            case Attribute(path=path):
                return f"coalesce({self._of(path, 'number')}, {_decimal(self._of(path, 'string'))})"
            case Field(name=name):
                self.asks_cumulative |= name.startswith("cumulative_")
                return FIELDS[name]
            case Result(about=about, name=name):
                return f"{self._note(about, name)}_score"
            case Cast(operand=operand):
                return self._number(operand) if kind_of(operand) in ("number", "any") else _decimal(self._text(operand))
            case Negative(operand=operand):
                return f"(-{self._number(operand)})"
            case Arithmetic(operator=operator, left=left, right=right):
                second = f"nullIf({self._number(right)}, 0)" if operator in "/%" else self._number(right)
                return value_sql.let("if(isFinite(n), n, NULL)", n=f"{self._number(left)} {operator} {second}")
        return _decimal(self._text(expression))

    def _boolean(self, expression: Expression) -> str:
        """As 1 or 0; NULL where there is no boolean."""
        if isinstance(expression, Constant):
            return self._given(int(expression.value), "UInt8")
        assert isinstance(expression, Attribute)
        flag, number, string = (self._of(expression.path, part) for part in ("flag", "number", "string"))
        of_text = f"transform(lower(ifNull({string}, '')), ['true', 'false'], [1, 0], NULL)"
        return f"coalesce({flag}, multiIf({number} = 1, 1, {number} = 0, 0, NULL), {of_text})"

    def _instant(self, expression: Expression) -> str:
        return self._given(expression.value, "Int64") if isinstance(expression, Constant) else self._string(expression)

    def _given(self, value: Any, kind: str) -> str:
        name = f"f_{len(self.params)}"
        self.params[name] = value
        return f"{{{name}:{kind}}}"

    def _bytes(self, raw: bytes) -> str:
        return f"base64Decode({self._given(b64encode(raw).decode(), 'String')})"

    def _note(self, about: About, name: str) -> str:
        if (about, name) not in self.notes:
            self.notes.append((about, name))
        return f"note_{self.notes.index((about, name))}"

    def _hints(self, part: Condition) -> list[str]:
        match part:
            case Comparison(operator="==", kind="text", left=Attribute(path=path), right=Constant(value=str(wanted))):
                pass
            case Comparison(operator="==", kind="text", left=Constant(value=str(wanted)), right=Attribute(path=path)):
                pass
            case _:
                return []
        name = dotted(path)
        if name in _COLUMNS and wanted:
            return [f"{_COLUMNS[name]} = {self._given(wanted, 'String')}"]
        pairs = self._pairs(path, wanted)
        return [f"hasAny(pairs, [{', '.join(pairs)}])"] if pairs else []

    def _pairs(self, path: Path, wanted: str) -> list[str]:
        """What `pairs` holds of every span where this attribute is this text; empty where nothing is certain."""
        name, raw = dotted(path), self._bytes(encode(wanted))
        found = [pair(self._given(source, "String"), raw) for source in sources(name)]
        if name in LEAVES:
            return found
        for length in range(1, len(path)):
            prefix = dotted(path[:length])
            if isinstance(path[length], int) or (holds_json(prefix) and (prefix != "metadata" or len(path) > length + 1)):
                return []
            found.append(pair(self._given(prefix, "String")))
            if holds_json(prefix):
                found.append(pair("'metadata'", self._given(str(path[length]), "String"), self._given(wanted, "String")))
        return found

    def _of(self, path: Path, part: str) -> str:
        """One part of what is at a path: there, string, number, flag, text, bytes or json."""
        if path not in self._attributes:
            self._attributes[path] = f"attribute_{len(self._attributes)}"
            self._find(path, self._attributes[path])
            self._read(self._attributes[path], path)
        return f"{self._attributes[path]}_{part}"

    def _find(self, path: Path, name: str) -> None:
        """Defines NAME_bytes and NAME_json, of which one may hold the value, and NAME_absent: that nothing of which it could be a part is stored."""
        whole = dotted(path)
        stored = [f"attributes[{self.text(source)}]" for source in sources(whole)]
        own = stored[-1]
        for each in reversed(stored[:-1]):
            own = f"if({each} != '', {each}, {own})"
        self._define(0, own, f"{name}_own")
        found, jsons, absent = [f"{name}_own"], [], f"{own} = ''"
        for length in range(len(path) - 1, 0, -1) if whole not in LEAVES else ():
            prefix, steps, holder = dotted(path[:length]), path[length:], f"{name}_in_{length}"
            stored_there = f"attributes[{self.text(prefix)}]"
            self._define(0, f"if({absent}, {stored_there}, '')", holder)
            absent = f"{absent} AND {stored_there} = ''"
            if holds_json(prefix):
                jsons.append(f"{holder}_json")
                text = value_sql.let(f"if({value_sql.is_text('v')}, {value_sql.content('v')}, '')", v=holder)
                self._define(1, self._inside_json(text, steps), jsons[-1])
            if len(steps) <= MAX_LEVELS:
                found.append(self._inside(holder, steps))
        self._define(0, absent, f"{name}_absent")
        self._define(_FOUND, f"concat({', '.join(found)}, '')", f"{name}_bytes")
        self._define(_FOUND, f"concat({', '.join(jsons)}, '')" if jsons else "''", f"{name}_json")

    def _inside(self, holder: str, steps: Path) -> str:
        for number, step in enumerate(steps):
            items = self._define(2 * number + 1, value_sql.let(value_sql.items("v"), v=holder), f"{holder}_items")
            key = step if isinstance(step, int) else self._bytes(value_sql.member_key(step))
            sql = value_sql.element(holder, items, key) if isinstance(key, int) else value_sql.member(holder, items, key)
            holder = self._define(2 * number + 2, sql, f"{holder}_{number}")
        return holder

    def _read(self, name: str, path: Path) -> None:
        """Defines what NAME_bytes and NAME_json hold: NAME_string, _number and _flag, each null when it is something else, _text and _there."""
        level = _FOUND + 1

        def read(level: int, part: str, body: str, **more: str) -> None:
            self._define(level, value_sql.let(body, v=f"{name}_bytes", j=f"{name}_json", **more), f"{name}_{part}")

        read(level, "string", f"multiIf({value_sql.is_text('v')}, {value_sql.content('v')}, startsWith(j, '\"'), JSONExtractString(j), NULL)")
        whole, double = "startsWith(v, '\\x18')", value_sql.double("v")
        finite, in_json = f"if(isFinite({double}), {double}, NULL)", "if(match(j, '^-?[0-9]'), toFloat64OrNull(j), NULL)"
        read(level, "number", f"multiIf({whole}, toFloat64({value_sql.integer('v')}), startsWith(v, '!'), {finite}, {in_json})")
        read(level, "flag", "multiIf(startsWith(v, '\\x10'), toNullable(endsWith(v, '\\x01')), j = 'true', 1, j = 'false', 0, NULL)")
        digits = f"multiIf({whole}, toString({value_sql.integer('v')}), match(j, '^-?[0-9]+$'), j, toString(n))"
        truth = "if(isNull(f), NULL, if(f, 'true', 'false'))"
        read(level + 1, "text", f"coalesce(s, {truth}, {digits})", s=f"{name}_string", f=f"{name}_flag", n=f"{name}_number")
        below = f"arrayExists((k, v) -> startsWith(k, {self.text(dotted(path) + '.')}) AND v != '', mapKeys(attributes), mapValues(attributes))"
        branch = "" if dotted(path) in LEAVES else f" OR ({name}_absent AND {below})"
        self._define(level, f"({name}_bytes != '' OR {name}_json NOT IN ('', 'null'){branch})", f"{name}_there")

    def _texts(self, path: Path) -> str:
        """Defines NAME_texts: the texts directly in a list or an object, and those of longer names."""
        name = self._attributes[path]
        if f"{name}_texts" not in self._named:
            level = _FOUND + 1
            self._define(level, value_sql.let(value_sql.items("v"), v=f"{name}_bytes"), f"{name}_items")
            self._define(level + 1, value_sql.members(f"{name}_bytes", f"{name}_items"), f"{name}_members")
            in_object = "arrayMap(p -> p.2, JSONExtractKeysAndValuesRaw(j))"
            in_json = value_sql.let(f"arraySlice(if(startsWith(j, '['), JSONExtractArrayRaw(j), {in_object}), 1, {MAX_MEMBERS})", j=f"{name}_json")
            self._define(level, f"arrayMap(m -> JSONExtractString(m), arrayFilter(m -> startsWith(m, '\"'), {in_json}))", f"{name}_said")
            below = f"arrayFilter((x, k) -> startsWith(k, {self.text(dotted(path) + '.')}), mapValues(attributes), mapKeys(attributes))"
            every = f"arrayConcat({name}_members, if({name}_absent, {below}, []))"
            own = f"arrayMap(m -> {value_sql.content('m')}, arrayFilter(m -> {value_sql.is_text('m')}, {every}))"
            self._define(level + 2, f"arrayConcat({own}, {name}_said)", f"{name}_texts")
        return f"{name}_texts"

    def _define(self, level: int, sql: str, name: str) -> str:
        self.levels[level].append(f"{sql} AS {name}")
        self._named.add(name)
        return name

    def _inside_json(self, text: str, steps: Path) -> str:
        sql = f"JSONExtractRaw({text})"
        for step in steps:
            opening, key = ("[", str(step + 1)) if isinstance(step, int) else ("{", self.text(step))
            sql = value_sql.let(f"if(startsWith(j, '{opening}'), JSONExtractRaw(j, {key}), '')", j=sql)
        return sql


def _decimal(text: str) -> str:
    """The number a text spells; NULL where it spells none."""
    pattern = DECIMAL.replace("\\", "\\\\")
    return f"if(match(ifNull({text}, ''), '{pattern}'), toFloat64OrNull(trimBoth(ifNull({text}, ''))), NULL)"


def _any_of(value: str, values: str) -> str:
    return f"if(isNull({value}), NULL, has({values}, assumeNotNull({value})))"

"""Reads whole spans in quantity, newest first, as Arrow tables of JSON texts: the engine decodes, Python only arranges.

A query is read in two steps. `pages` cuts what was asked for into stretches of time of about `PAGE_BYTES` each, so that neither the engine
nor the service ever holds more; `page` reads one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa

from query_api.readers import any_value_sql
from query_api.readers.conditions import Conditions
from query_api.readers.rows import Rows, integer
from query_api.readers.span_filter_sql import FilterSql
from query_api.readers.span_times import before, since
from query_api.readers.visible_spans import VisibleSpans
from schemas.span_filter.tree import Condition, Field, HasParent, Missing, Not, Result, kind_of

PAGE_BYTES: Final = 96 * 2**20
"""Stored bytes of spans that are read at once, when several begin at different times."""
_SPANS: Final = "(SELECT *{defined} FROM spans FINAL{joins}\n    WHERE {rows})"
_MORE: Final = "(SELECT *, {defined} FROM {spans})"
_ORDER: Final = "ORDER BY toStartOfMinute(start_time) DESC, start_time DESC, trace_id DESC, span_id DESC"
# Spans of one instant stay together: the frame of the sum ends with the last of equal ones.
_PAGES: Final = """
SELECT toUnixTimestamp64Nano(min(began)) AS from_ns, count() AS spans FROM (
    SELECT began, intDiv(sum(size) OVER (ORDER BY began DESC), {{page_bytes:UInt64}}) AS page FROM (
        SELECT start_time AS began, bytes AS size {spans}
        {order}
        LIMIT 1 BY trace_id, span_id
        LIMIT {{limit:UInt64}}
    )
) GROUP BY page ORDER BY from_ns DESC
"""
# The lower bound of a page is that of its first span, so that of equal starts none is left out.
_PAGE: Final = """
SELECT {columns} {spans}
{order}
LIMIT 1 BY trace_id, span_id
LIMIT {{limit:UInt64}}
"""
_HAS_PARENT: Final = "(parent_id != '' AND (trace_id, parent_id) IN (SELECT trace_id, span_id FROM spans WHERE {visible})) AS has_parent"
# One without a trace is about the span of its id in whatever trace.
_NOTE: Final = """
LEFT JOIN (
    SELECT target_id AS {note}_target, trace_id AS {note}_trace, label AS {note}_label, score AS {note}_score, explanation AS {note}_explanation,
           toNullable(1) AS {note}_there
    FROM annotations FINAL WHERE tenant = {{tenant:String}} AND target = '{about}' AND name = {{{note}_name:String}} AND deleted = 0
    ORDER BY updated DESC
) AS {note} ON {note}_target = {about}_id AND ({note}_trace = '' OR {note}_trace = trace_id)"""
# Each span counts once for itself and for everything above it; a parent that is below itself ends the climb at some level.
_CUMULATIVE: Final = """
LEFT JOIN (
    SELECT in_trace AS cumulative_trace, above AS cumulative_span, sum(prompt) AS cumulative_prompt, sum(completion) AS cumulative_completion,
           cumulative_prompt + cumulative_completion AS cumulative_total
    FROM (
        WITH RECURSIVE climb AS (
            SELECT trace_id AS in_trace, span_id AS counted, span_id AS above, parent_id AS next, toFloat64(prompt_tokens) AS prompt,
                   toFloat64(completion_tokens) AS completion, 0 AS level
            FROM spans FINAL WHERE {visible} AND {in_time}
            UNION ALL
            SELECT climb.in_trace, climb.counted, parents.id, parents.parent, climb.prompt, climb.completion, climb.level + 1
            FROM climb INNER JOIN (
                SELECT trace_id AS parents_trace, span_id AS id, parent_id AS parent FROM spans FINAL WHERE {visible} AND {in_time}
            ) AS parents ON parents.parents_trace = climb.in_trace AND parents.id = climb.next
            WHERE climb.level < 64
        )
        SELECT DISTINCT in_trace, counted, above, prompt, completion FROM climb
    ) GROUP BY in_trace, above
) AS cumulative ON cumulative_trace = trace_id AND cumulative_span = span_id"""
_IN_TIME: Final = "trace_id IN (SELECT trace_id FROM spans WHERE {where})"
_KEPT: Final = "mapFilter((k, v) -> k IN ({names}) OR arrayExists(p -> startsWith(k, p), {prefixes}), attributes) AS kept"
# Bytes that begin like no AnyValue hold nothing that could be shown.
_KINDS: Final = (
    "arrayStringConcat(arrayMap(v -> if(v != '' AND position('\\n\\x10\\x18!*2:', substring(v, 1, 1)) > 0, substring(v, 1, 1), '0'), mapValues(kept)))"
)
_SHAPE: Final = f"concat(toJSONString(mapKeys(kept)), {_KINDS}) AS shape"
_VALUES: Final = f"arrayMap(v -> if(v >= '*', base64Encode(v), {any_value_sql.json('v')}), mapValues(kept)) AS values"
_TIME: Final = "concat('\"', replaceOne(toString({}), ' ', 'T'), 'Z\"')"
_EVENTS: Final = "arrayStringConcat(arrayMap(e -> base64Encode(e), events), ' ')"


Roots = Literal["", "strict", "orphans too"]
"""Whether only roots are wanted, and whether a span whose parent is not stored is one."""


class Stretch(NamedTuple):
    """A part of what was asked for: spans that began from here until the stretch before."""

    from_ns: int
    spans: int


@dataclass(frozen=True)
class Kept:
    """Which attributes are read: all of them, or those of these names and those that begin so."""

    names: Sequence[str] = ()
    prefixes: Sequence[str] = ()
    everything: bool = False


@dataclass(frozen=True)
class Wanted:
    """Which spans of a project, and what of them."""

    condition: Condition | None = None
    roots: Roots = ""
    start_ns: int | None = None
    """Spans that began at or after this."""
    end_ns: int | None = None
    """Spans that began before this."""
    limit: int = 1_000
    columns: Mapping[str, Field | Result | Literal["events"]] | None = None
    """By the name each has in the table; events are base64 of serialised ones with a space between."""
    kept: Kept = Kept()


class SpanQueryReader:
    """Reads the spans of one project; raises QueryLimit where the engine would need too much for a filter."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._visible = VisibleSpans(rows)

    async def pages(self, tenant: str, project: str, wanted: Wanted) -> list[Stretch]:
        """What `page` is to be asked for, one after the other; empty when nothing was found."""
        query = _Query(tenant, await self._visible.of_project(tenant, project), wanted)
        sql = query.written(_PAGES)
        rows = await self._rows.query(sql, {**query.params, "limit": wanted.limit, "page_bytes": PAGE_BYTES})
        return [Stretch(integer(row["from_ns"]), integer(row["spans"])) for row in rows]

    async def page(self, tenant: str, project: str, wanted: Wanted, stretch: Stretch, until_ns: int | None) -> pa.Table:
        """The spans of a stretch that began before an instant, newest first: the wanted columns as JSON, each null where it is, and of the attributes
        `shape` (the names as a JSON list and the first byte of each value, 0 for none) and `values` (JSON; base64 of lists, objects and bytes)."""
        query = _Query(tenant, await self._visible.of_project(tenant, project), wanted, stretch.from_ns, until_ns)
        return await self._rows.table(query.written(_PAGE), {**query.params, "limit": stretch.spans})


class _Query:
    """One statement in the making."""

    def __init__(self, tenant: str, visible: Conditions, wanted: Wanted, from_ns: int | None = None, until_ns: int | None = None) -> None:
        self._sql = FilterSql()
        self._visible = visible
        columns = [self._column(name, of) for name, of in (wanted.columns or {}).items()]
        times = {"start_ns": (since, wanted.start_ns), "end_ns": (before, wanted.end_ns), "from_ns": (since, from_ns), "until_ns": (before, until_ns)}
        bounded = visible
        for name, (bound, value) in times.items():
            if value is not None:
                bounded = bounded.and_also(bound(name), **{name: value})
        where, hints = ["1"], []
        for condition in (*_roots(wanted.roots), *([wanted.condition] if wanted.condition else [])):
            where.append(self._sql.condition(condition))
            hints += self._sql.hints(condition)
        first, *levels = self._sql.levels
        defined = [*first, *([_HAS_PARENT.format(visible=visible.where)] if self._sql.asks_parent else [])]
        if wanted.kept.everything or wanted.kept.names or wanted.kept.prefixes:
            columns += [_SHAPE, _VALUES]
            defined.append(self._kept(wanted.kept))
        joins = [_NOTE.format(note=f"note_{number}", about=about) for number, (about, _) in enumerate(self._sql.notes)]
        if self._sql.asks_cumulative:
            joins.append(_CUMULATIVE.format(visible=visible.where, in_time=_IN_TIME.format(where=bounded.where)))
        self._columns = ", ".join(columns) or "1"
        rows = "\n      AND ".join([*bounded.sql, *hints])
        spans = _SPANS.format(defined="".join(f", {each}" for each in defined), joins="".join(joins), rows=rows)
        for level in filter(None, levels):
            spans = _MORE.format(defined=", ".join(level), spans=spans)
        self._from = f"FROM {spans}\nWHERE {' AND '.join(where)}"
        names = {f"note_{number}_name": name for number, (_, name) in enumerate(self._sql.notes)}
        self.params: dict[str, Any] = {"tenant": tenant, **bounded.params, **names, **self._sql.params}

    def written(self, template: str) -> str:
        """The statement."""
        return template.format(columns=self._columns, spans=self._from, order=_ORDER)

    def _column(self, name: str, of: Field | Result | Literal["events"]) -> str:
        if of == "events":
            return f"{_EVENTS} AS {name}"
        sql = self._sql.expression(of)
        match kind_of(of):
            case "time":
                # As the column itself, not as the number that filters compare.
                assert isinstance(of, Field)
                text = _TIME.format(of.name)
            case "number":
                text = f"toString({sql})"
            case _:
                text = f"toJSONString(toString({sql}))"
        return f"if(isNull({sql}), NULL, {text}) AS {name}"

    def _kept(self, kept: Kept) -> str:
        if kept.everything:
            return "attributes AS kept"
        names = ", ".join(self._sql.text(name) for name in kept.names) or "''"
        return _KEPT.format(names=names, prefixes=self._sql.texts(kept.prefixes))


def _roots(roots: Roots) -> list[Condition]:
    if roots == "strict":
        return [Missing(Field("parent_id", "text"))]
    return [Not(HasParent())] if roots else []

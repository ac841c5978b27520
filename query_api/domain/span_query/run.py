"""Answers queries over the spans of a project."""

import asyncio
from base64 import b64decode
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infra.runtime.errors import NotFound
from query_api.domain.projects import Projects
from query_api.domain.span_query.columns import Attributes, Column, mapped
from query_api.domain.span_query.frame import Frame
from query_api.domain.span_query.items import exploded, joined, lists
from query_api.domain.span_query.query import EVENTS, EVERYTHING, SPAN_ID, Reference, SpanQuery
from query_api.parts import Parts
from query_api.readers.span_query import Kept, Roots, SpanQueryReader, Wanted
from schemas.any_value import typed
from schemas.llm_model import flat
from schemas.openinference import sources
from schemas.span_filter.tree import Attribute, Field, Path, Result, kind_of
from schemas.span_filter.values import dotted
from schemas.windows import to_iso

_ALL: Final[dict[str, Reference]] = {
    "name": Field("name", "text"),
    "span_kind": Field("span_kind", "text"),
    "parent_id": Field("parent_id", "text"),
    "start_time": Field("start_time", "time"),
    "end_time": Field("end_time", "time"),
    "status_code": Field("status_code", "text"),
    "status_message": Field("status_message", "text"),
    "events": EVENTS,
    SPAN_ID: Field("span_id", "text"),
    "context.trace_id": Field("trace_id", "text"),
}
"""Columns of every span, when all are asked for."""


@dataclass(frozen=True)
class Range:
    """Which spans of a project are looked at, beside a query's own condition."""

    start_ns: int | None
    end_ns: int | None
    limit: int
    roots: Roots = ""


class SpanQueries:
    """Runs queries."""

    def __init__(self, parts: Parts) -> None:
        self._projects = Projects(parts)
        self._reader = SpanQueryReader(parts.rows)

    async def project(self, tenant: str, identifier: str) -> str:
        """The name of a project by its name or GlobalID. A name that is not known yet is a project without spans."""
        try:
            return (await self._projects.get(tenant, identifier)).name
        except NotFound:
            return identifier

    async def frame(self, tenant: str, project: str, query: SpanQuery, within: Range) -> AsyncGenerator[Frame, None]:
        """The table, given out after every page as far as it is, the last time whole; it is good until the next one is asked for."""
        frame = Frame([query.index, *([query.position] if query.explode else [])])
        try:
            frame.add(*_empty(query))
            async with aclosing(self._pages(tenant, project, _wanted(query, within))) as pages:
                async for page in pages:
                    await asyncio.to_thread(_add, frame, query, page)
                    yield frame
            frame.whole = True
            yield frame
        finally:
            frame.close()

    async def _pages(self, tenant: str, project: str, wanted: Wanted) -> AsyncGenerator[pa.Table, None]:
        """The pages; while one is worked on, the engine reads the next."""
        reading: deque[asyncio.Task[pa.Table]] = deque()
        until: int | None = None
        try:
            for stretch in await self._reader.pages(tenant, project, wanted):
                reading.append(asyncio.create_task(self._reader.page(tenant, project, wanted, stretch, until)))
                until = stretch.from_ns
                if len(reading) > 1:
                    yield await reading.popleft()
            while reading:
                yield await reading.popleft()
        finally:
            for task in reading:
                task.cancel()


def _references(query: SpanQuery) -> dict[str, Reference]:
    return dict(_ALL) if query.everything else dict(query.select)


def _wanted(query: SpanQuery, within: Range) -> Wanted:
    references = {**_references(query), "": query.index_of}
    fields = [each for each in references.values() if not isinstance(each, Attribute)]
    paths = [each.path for each in references.values() if isinstance(each, Attribute)] + [each.path for each in (query.explode, query.concat) if each]
    columns: dict[str, Field | Result | Literal["events"]] = {f"column_{number}": each for number, each in enumerate(dict.fromkeys(fields))}
    if EVENTS in references.values():
        columns["column_events"] = "events"
    return Wanted(query.condition, within.roots, within.start_ns, within.end_ns, within.limit, columns, _kept(query, [p for p in paths if p != EVENTS.path]))


def _kept(query: SpanQuery, paths: Sequence[Path]) -> Kept:
    if query.everything or EVERYTHING.path in paths:
        return Kept(everything=True)
    names = {source for path in paths for length in range(1, len(path) + 1) for source in sources(dotted(path[:length]))}
    return Kept(sorted(names), [f"{dotted(path)}." for path in paths])


class _Page:
    """A page of spans, and columns of it by what they refer to."""

    def __init__(self, query: SpanQuery, page: pa.Table) -> None:
        self._page = page
        self._attributes = Attributes(page) if "shape" in page.column_names else None
        fields = dict.fromkeys(each for each in (*_references(query).values(), query.index_of) if not isinstance(each, Attribute))
        self._names = {of: f"column_{number}" for number, of in enumerate(fields)}

    def column(self, of: Reference) -> Column:
        if of == EVENTS:
            raw = self._page.column("column_events").combine_chunks()
            return Column(*mapped(raw, _events)) if pc.any(pc.not_equal(raw, "")).as_py() else Column(pa.repeat("[]", len(raw)), {"object"})
        if isinstance(of, Attribute):
            assert self._attributes is not None
            return self._attributes.nested() if of == EVERYTHING else self._attributes.find(of.path)
        kind = kind_of(of)
        return Column(self._page.column(self._names[of]).combine_chunks(), {kind})

    def everything(self) -> dict[str, Column]:
        assert self._attributes is not None
        return {f"attributes.{name}": column for name, column in self._attributes.everything().items()}


def _add(frame: Frame, query: SpanQuery, table: pa.Table) -> None:
    page = _Page(query, table)
    columns = {name: page.column(of) for name, of in _references(query).items()}
    index = [page.column(query.index_of)]
    if query.everything:
        columns |= page.everything()
    else:
        columns.pop(query.index, None)
    rows = table.num_rows
    if query.concat:
        columns |= joined(query.concat, page.column(Attribute(query.concat.path)).texts)
    if query.explode:
        chosen, made, positions = exploded(query.explode, page.column(Attribute(query.explode.path)).texts)
        columns = {name: Column(column.texts.take(chosen), column.kinds) for name, column in columns.items()} | made
        index = [Column(index[0].texts.take(chosen), index[0].kinds), Column(positions, {"integer"})]
        rows = len(chosen)
    elif query.concat:
        has = pa.array(np.flatnonzero([isinstance(value, list) for value in lists(page.column(Attribute(query.concat.path)).texts)]))
        columns = {name: Column(column.texts.take(has), column.kinds) for name, column in columns.items()}
        index, rows = [Column(index[0].texts.take(has), index[0].kinds)], len(has)
    frame.add(index, _renamed(query, columns), rows)


def _empty(query: SpanQuery) -> tuple[list[Column], dict[str, Column], int]:
    """A page without rows, which has every column that is known beforehand."""
    names = [*_references(query), *(name for each in (query.concat, query.explode) if each for name in each.columns)]
    columns = {name: Column(pa.nulls(0, pa.string())) for name in names if query.everything or name != query.index}
    return [Column(pa.nulls(0, pa.string())) for _ in range(2 if query.explode else 1)], _renamed(query, columns), 0


def _renamed(query: SpanQuery, columns: Mapping[str, Column]) -> dict[str, Column]:
    return {query.rename.get(name, name): column for name, column in columns.items()}


def _events(raw: str) -> list[dict[str, Any]]:
    found = []
    for each in raw.split():
        try:
            event = Span.Event.FromString(b64decode(each))
        except DecodeError:
            continue  # the door checked what it took; an unreadable event must not hide the span that carries it
        attributes = flat({item.key: typed(item.value) for item in event.attributes})
        found.append({"name": event.name, "timestamp": to_iso(event.time_unix_nano // 1_000), "attributes": attributes})
    return found

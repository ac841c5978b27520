"""Lists windows of one kind for a tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from query_api.domain.costs_on_read import CostsOnRead, grains_on_read
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.span_usage import SpanUsageReader
from query_api.readers.windows import Key, Order, WindowFilter, WindowItem, WindowReader
from query_api.surfaces.policy import Page
from schemas.cost import MANY
from schemas.lineage import COMPUTATIONS, MARKS
from schemas.tables.watermarks import ending_windows
from schemas.windows import Grain

FED_BY: Final[Mapping[str, frozenset[str]]] = {
    program.name: frozenset(topic for topic, marks in MARKS.items() if marks in program.consumes) for program in COMPUTATIONS
}
"""Topics whose blocks each kind is computed from."""
OWN_SUBJECT: Final = frozenset({"assignments", "significance", "evaluation"})
"""Kinds whose windows have the subject that blocks touch; the others are refreshed for a tenant as a whole."""

_UNITS: Final = 100
"""More than there are units of account."""


async def list_windows(parts: Parts, kind: str, tenant: str, wanted: WindowFilter, *, limit: int, cursor: str | None, order: Order, wait: Wait) -> Page:
    """One page of windows, covering what the caller waited for. Raises ValidationFailed for a foreign cursor, and what the
    freshness contract raises."""
    after = decode_cursor(cursor, Key) if cursor else None
    reader = WindowReader(parts.rows)
    if on_read := grains_on_read(kind, wanted.subject):
        stored = Grain.ALL not in on_read and wanted.grain in (None, Grain.ALL)
        watermark = await (parts.freshness.window(wait, watermarks(kind, wanted), tenant, None, FED_BY[kind]) if stored else parts.freshness.raw(wait))
        items = await CostsOnRead(SpanUsageReader(parts.rows), parts.definitions, parts.clock).windows(tenant, wanted, watermark)
        if stored:
            items += await reader.page(kind, tenant, replace(wanted, grain=Grain.ALL.value), limit=_UNITS)
        found = _from(items, after, order)
    else:
        subject = wanted.subject if kind in OWN_SUBJECT else None
        watermark = await parts.freshness.window(wait, watermarks(kind, wanted), tenant, subject, FED_BY[kind])
        found = await reader.page(kind, tenant, wanted, limit=limit + 1, after=after, order=order)
    page = found[:limit]
    last = page[-1] if len(found) > limit else None
    return Page(
        [item.plain() for item in page],
        encode_cursor(last.key) if last else None,
        watermark,
    )


def cost_watermarks(dimension: str | None) -> tuple[str, ...]:
    """What says how far the windows of cost of a dimension are, None meaning all of them: those with many values have a watermark of their own."""
    few, many = "cost", ending_windows("cost")
    return (few, many) if dimension is None else (many if dimension in MANY else few,)


def watermarks(kind: str, wanted: WindowFilter) -> tuple[str, ...]:
    """What says how far the windows wanted are."""
    if kind == "cost":
        return cost_watermarks(wanted.subject.partition("=")[0] if wanted.subject else None)
    # Those with an end are brought up to date after the cumulative one.
    return (ending_windows(kind) if kind == "significance" and wanted.grain != Grain.ALL else kind,)


def _from(items: Sequence[WindowItem], after: Key | None, order: Order) -> Sequence[WindowItem]:
    """In the order of a list, from behind a place on."""
    ordered = sorted(items, key=lambda item: item.key, reverse=order == "desc")
    return [item for item in ordered if after is None or (item.key < after if order == "desc" else item.key > after)]

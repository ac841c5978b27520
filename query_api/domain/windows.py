"""Lists windows of one kind for a tenant."""

from collections.abc import Mapping, Sequence
from typing import Final

from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.trace_costs import TraceCosts, is_of_trace
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.trace_usage import TraceUsageReader
from query_api.readers.windows import Key, Order, WindowFilter, WindowItem, WindowReader
from query_api.surfaces.policy import Page
from schemas.lineage import COMPUTATIONS, MARKS
from schemas.tables.watermarks import ending_windows
from schemas.windows import Grain

FED_BY: Final[Mapping[str, frozenset[str]]] = {
    program.name: frozenset(topic for topic, marks in MARKS.items() if marks in program.consumes) for program in COMPUTATIONS
}
"""Topics whose blocks each kind is computed from."""
OWN_SUBJECT: Final = frozenset({"assignments", "significance", "evaluation"})
"""Kinds whose windows have the subject that blocks touch; the others are refreshed for a tenant as a whole."""

REFRESHED_LATER: Final = frozenset({"significance"})
"""Kinds whose windows with an end are brought up to date after the cumulative one, and have a watermark of their own."""


async def list_windows(parts: Parts, kind: str, tenant: str, wanted: WindowFilter, *, limit: int, cursor: str | None, order: Order, wait: Wait) -> Page:
    """One page of windows, covering what the caller waited for. Raises ValidationFailed for a foreign cursor, and what the
    freshness contract raises."""
    after = decode_cursor(cursor, Key) if cursor else None
    if is_of_trace(kind, wanted.subject):
        watermark = await parts.freshness.raw(wait)
        of_trace = await TraceCosts(TraceUsageReader(parts.rows), parts.definitions, parts.clock).windows(tenant, wanted, watermark)
        found = _from(of_trace, after, order)
    else:
        subject = wanted.subject if kind in OWN_SUBJECT else None
        followed = ending_windows(kind) if kind in REFRESHED_LATER and wanted.grain != Grain.ALL else kind
        watermark = await parts.freshness.window(wait, followed, tenant, subject, FED_BY[kind])
        found = await WindowReader(parts.rows).page(kind, tenant, wanted, limit=limit + 1, after=after, order=order)
    page = found[:limit]
    last = page[-1] if len(found) > limit else None
    return Page(
        [item.plain() for item in page],
        encode_cursor(last.key) if last else None,
        watermark,
    )


def _from(items: Sequence[WindowItem], after: Key | None, order: Order) -> Sequence[WindowItem]:
    """Ordered items from behind a place on."""
    if order == "desc":
        return [item for item in reversed(items) if after is None or item.key < after]
    return [item for item in items if after is None or item.key > after]

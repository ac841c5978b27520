"""Lists windows of one kind for a tenant."""

from collections.abc import Mapping
from typing import Final

from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.freshness import Freshness, Wait
from query_api.readers.windows import Key, Order, WindowFilter, WindowReader
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


async def list_windows(
    reader: WindowReader,
    freshness: Freshness,
    kind: str,
    tenant: str,
    wanted: WindowFilter,
    *,
    limit: int,
    cursor: str | None,
    order: Order,
    wait: Wait,
) -> Page:
    """One page of windows, covering what the caller waited for. Raises ValidationFailed for a foreign cursor, and what the
    freshness contract raises."""
    after = decode_cursor(cursor, Key) if cursor else None
    subject = wanted.subject if kind in OWN_SUBJECT else None
    followed = ending_windows(kind) if kind in REFRESHED_LATER and wanted.grain != Grain.ALL else kind
    watermark = await freshness.window(wait, followed, tenant, subject, FED_BY[kind])
    found = await reader.page(kind, tenant, wanted, limit=limit + 1, after=after, order=order)
    page = found[:limit]
    last = page[-1] if len(found) > limit else None
    return Page(
        [item.plain() for item in page],
        encode_cursor(last.key) if last else None,
        watermark,
    )

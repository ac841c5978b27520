"""How fresh the tables are: from the close of a block at ingest to its storage, and when windows were computed last."""

from typing import Any

from infra.runtime.clock import Clock
from query_api.readers.ledger import LedgerReader
from query_api.readers.windows import WindowReader
from schemas.tables.windows import WINDOWS
from schemas.windows import to_iso


async def freshness_report(ledger: LedgerReader, windows: WindowReader, clock: Clock, tenant: str, minutes: int) -> dict[str, Any]:
    """Quantiles per topic over the blocks stored in the last minutes, and for each kind of window of the tenant when it was
    computed last."""
    topics = await ledger.freshness(clock.now_us() - minutes * 60_000_000)
    computed = {kind: await windows.computed(kind, tenant) for kind in WINDOWS}
    return {
        "minutes": minutes,
        "topics": [
            {
                "topic": topic.topic,
                "blocks": topic.blocks,
                "rows": topic.rows,
                "p50_ms": topic.p50_ms,
                "p95_ms": topic.p95_ms,
                "p99_ms": topic.p99_ms,
                "last_stored_at": to_iso(topic.newest_us),
            }
            for topic in topics
        ],
        "windows": [{"kind": kind, "last_computed_at": None if at_us is None else to_iso(at_us)} for kind, at_us in computed.items()],
    }

"""Lists what could not be stored."""

from query_api.access import Caller
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.readers.dead_letters import DeadLetterReader, Key
from query_api.surfaces.policy import Page
from schemas.position import Positions
from schemas.windows import to_iso


async def list_dead_letters(reader: DeadLetterReader, caller: Caller, *, limit: int, cursor: str | None, watermark: Positions) -> Page:
    """One page, newest first. A block may carry rows of several tenants; those whose tenant is not known are shown to
    operators only."""
    tenants = [caller.tenant, ""] if caller.operator else [caller.tenant]
    found = await reader.page(tenants, limit=limit + 1, after=decode_cursor(cursor, Key) if cursor else None)
    page = found[:limit]
    items = [
        {
            "at": to_iso(letter.at_us),
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "batch_id": letter.batch_id,
            "reason": letter.reason,
            "rows": letter.rows,
            "letter": f"dead_letters:{letter.letter_partition}:{letter.letter_offset}",
        }
        for letter in page
    ]
    return Page(items, encode_cursor(page[-1].key) if len(found) > limit else None, watermark)

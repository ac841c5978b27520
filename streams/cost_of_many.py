"""Cost by user and by session: as `streams/cost.py`, but of a busy minute only those are added up again that spans came for."""

from collections.abc import Mapping

from schemas.cost import MANY
from streams.cost import Cost
from streams.readers import usage_counts
from streams.readers.cost import Touched
from streams.readers.usage_counts import Blocks, Came

MAX_CAME = 1_000
"""Blocks that one statement looks for: they travel in the request's address. With more their minutes are counted as a whole."""


class CostOfMany(Cost):
    """Windows of cost by the dimensions with many values; they have a watermark of their own."""

    dimensions = MANY
    ending = True

    async def _count(self, tenant: str, touched: Touched, computed: int, counted: Mapping[int, Blocks]) -> Mapping[int, Blocks]:
        found = await usage_counts.blocks(self._clickhouse, tenant, touched.service, touched.starts, timeout=self._timeout)
        came = _came(found, counted)
        # Most services send no spans, and many marks tell of metrics and logs.
        if came.blocks or any(blocks for start, blocks in found.items() if start not in came.known):
            await usage_counts.count_many(self._clickhouse, tenant, touched, came, computed, timeout=self._timeout)
        return found


def _came(found: Mapping[int, Blocks], counted: Mapping[int, Blocks]) -> Came:
    """What came since the minutes were counted. A minute is known while what was counted of it is there as it was: spans of a block that are no
    longer there were replaced by copies, which may belong to other users and sessions."""
    known = [start for start, blocks in counted.items() if all(found[start].get(place) == spans for place, spans in blocks.items())]
    blocks = {place for start in known for place in found[start].keys() - counted[start].keys()}
    return Came(found, known, blocks) if len(blocks) <= MAX_CAME else Came(found, [], ())

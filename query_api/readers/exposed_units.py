"""Which units of an experiment were exposed, and the variant that each saw first."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from query_api.readers.rows import Rows, integer
from schemas.tables.events import BUCKETS

_PAGE = 20_000
"""Units of one page, about."""
_COUNT = "SELECT uniq(unit) AS units FROM events WHERE tenant = {tenant:String} AND experiment = {experiment:String} AND variant != ''"
_UNITS = """
SELECT unit, argMin(toString(variant), (time, event_id)) AS shown
FROM events FINAL
WHERE tenant = {tenant:String} AND experiment = {experiment:String} AND variant != '' AND quarantined = 0
    AND bucket >= {low:UInt16} AND bucket < {high:UInt16}
GROUP BY unit"""


class Exposed(NamedTuple):
    """Exposed units, each once."""

    units: list[str]
    variants: list[str]
    """The first in event time, of each."""


class ExposedUnits:
    """Reads the events themselves, so it knows every exposure that is stored and not expired."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def pages(self, tenant: str, experiment: str) -> AsyncIterator[Exposed]:
        """All exposed units, in pages of bounded size. Costs what the experiment's rows cost. Raises Unavailable and QueryLimit."""
        about = {"tenant": tenant, "experiment": experiment}
        (counted,) = await self._rows.query(_COUNT, about)
        units = integer(counted["units"])
        step = max(1, BUCKETS * _PAGE // max(units, _PAGE))
        # Units that come while this is read fall into the pages too, so an experiment without any is looked at all the same.
        for low in range(0, BUCKETS, step):
            found = await self._rows.query(_UNITS, {**about, "low": low, "high": min(low + step, BUCKETS)})
            if found:
                yield Exposed([str(row["unit"]) for row in found], [str(row["shown"]) for row in found])

"""Since when the newest spans of a project began, roughly: where to look first, for a page of them and for spans that are rare.

Reading in the order of time, the engine takes from every part of the table what it has newest before it gives a first answer. Within a bound
in time most parts have nothing to give.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from infra.runtime.clock import Clock
from infra.runtime.errors import MillstreamError
from query_api.readers.conditions import Conditions
from query_api.readers.rows import Rows, integer

_log = structlog.get_logger()

_EDGE: Final = """
SELECT count() AS spans, toUnixTimestamp64Nano(min(start_time)) AS edge_ns, toUnixTimestamp64Nano(quantileExact({above:Float64})(start_time)) AS page_ns
FROM (
    SELECT start_time FROM spans WHERE tenant = {tenant:String} AND project = {project:String}
    ORDER BY toStartOfMinute(start_time) DESC, start_time DESC LIMIT {newest:UInt32}
)
"""
_NEWEST: Final = 100_000
_OF_PAGE: Final = 2_000
"""Enough for the largest page."""
_OLD_S: Final = 10.0
_MAX_KNOWN: Final = 10_000


@dataclass
class _Known:
    edge_ns: int | None = None
    page_ns: int | None = None
    looked: float = float("-inf")
    look: asyncio.Task[None] | None = None


class NewestSpans:
    """A hint: what is found does not depend on it. Looks behind the reads that ask, never before them."""

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._known: dict[tuple[str, str], _Known] = {}

    def since_ns(self, visible: Conditions, *, rare: bool) -> int | None:
        """When the oldest of the newest spans of a project began, of many where `rare` ones are sought among them, else of a few pages. None while nobody
        knows, and for a project with few. Does not block."""
        tenant, project = visible.params["tenant"], visible.params["project"]
        if (tenant, project) not in self._known and len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        known = self._known.setdefault((tenant, project), _Known())
        if known.look is None and self._clock.monotonic() - known.looked > _OLD_S:
            known.look = asyncio.create_task(self._look(known, tenant, project))
        return known.edge_ns if rare else known.page_ns

    async def _look(self, known: _Known, tenant: str, project: str) -> None:
        try:
            of_newest = {"tenant": tenant, "project": project, "newest": _NEWEST, "above": 1 - _OF_PAGE / _NEWEST}
            (newest,) = await self._rows.query(_EDGE, of_newest)
            enough = integer(newest["spans"]) == _NEWEST
            known.edge_ns, known.page_ns = (integer(newest["edge_ns"]), integer(newest["page_ns"])) if enough else (None, None)
        except MillstreamError as error:
            _log.info("newest spans not looked for", tenant=tenant, project=project, error=str(error))
        finally:
            known.looked, known.look = self._clock.monotonic(), None

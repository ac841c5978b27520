"""Reads of what the spans of a project used, by window and before prices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from query_api.readers.rows import Rows, integer
from schemas.cost import COARSER, COMPLETION, PROMPT, Piece, Usage
from schemas.windows import Grain, window_start

_OF_PROJECT: Final = "tenant = {tenant:String} AND grain = {grain:String} AND dimension = {dimension:String} AND project = {project:String} AND quantity > 0"
_BETWEEN: Final = " AND {0} >= fromUnixTimestamp64Micro({{{1}:Int64}}, 'UTC')"
_BEFORE: Final = " AND {0} < fromUnixTimestamp64Micro({{{1}:Int64}}, 'UTC')"
_LINES: Final = "value, provider, model, unit, sum(quantity) AS used, sum(billed) AS priced FROM cost_usage FINAL WHERE "
_PAGE: Final = """
SELECT toUnixTimestamp64Micro(window_start) AS start_us, value, sumIf(used, unit IN ('{counted}')) AS tokens,
       groupArray((provider, model, unit, used, priced)) AS lines
FROM (SELECT window_start, {lines} GROUP BY window_start, value, provider, model, unit)
GROUP BY window_start, value
{after}
ORDER BY start_us DESC, tokens DESC, value DESC LIMIT {{limit:UInt32}}"""
_AFTER: Final = "HAVING (start_us, tokens, value) < ({c_start:Int64}, {c_tokens:UInt64}, {c_value:String})"
_PIECE: Final = "SELECT {lines} AND value IN {{values:Array(String)}} GROUP BY value, provider, model, unit"


class Place(NamedTuple):
    """Place of a window in the order of a list: the newest first, in it what used most."""

    start_us: Annotated[int, Meta(ge=0, le=2**62)]
    tokens: Annotated[int, Meta(ge=0, le=2**62)]
    value: str


@dataclass(frozen=True)
class Used:
    """What one value of a dimension used in one window."""

    place: Place
    usages: Sequence[Usage]


@dataclass(frozen=True)
class CostReader:
    """Reads the usage of one project by one dimension of `schemas.cost`."""

    rows: Rows
    tenant: str
    project: str
    dimension: str

    async def page(self, grain: Grain, start_us: int | None, end_us: int | None, *, limit: int, after: Place | None) -> list[Used]:
        """Windows that start in [start_us, end_us), from behind a place on."""
        within, params = self._range(grain, start_us, end_us)
        if after is not None:
            params |= {"c_start": after.start_us, "c_tokens": after.tokens, "c_value": after.value}
        sql = _PAGE.format(counted=f"{PROMPT}', '{COMPLETION}", lines=_LINES + within, after="" if after is None else _AFTER)
        found = await self.rows.query(sql, {**params, "limit": limit})
        return [Used(Place(integer(row["start_us"]), integer(row["tokens"]), row["value"]), self._usages(row["value"], row["lines"])) for row in found]

    async def piece(self, piece: Piece, values: Sequence[str]) -> list[Usage]:
        """What some values used in a piece of time, as one sum."""
        within, params = self._range(piece.grain, piece.from_us, piece.until_us)
        found = await self.rows.query(_PIECE.format(lines=_LINES + within), {**params, "values": list(values)})
        return [self._usage(row["value"], row["provider"], row["model"], row["unit"], row["used"], row["priced"]) for row in found]

    def _range(self, grain: Grain, start_us: int | None, end_us: int | None) -> tuple[str, dict[str, Any]]:
        sql = _OF_PROJECT
        params: dict[str, Any] = {"tenant": self.tenant, "grain": grain.value, "dimension": self.dimension, "project": self.project}
        coarser = COARSER.get(grain, Grain.ALL)
        if start_us is not None and grain.seconds:
            sql += _BETWEEN.format("window_start", "start_us") + _BETWEEN.format("within", "within_us")
            params |= {"start_us": start_us, "within_us": window_start(start_us, coarser)}
        if end_us is not None and grain.seconds:
            sql += _BEFORE.format("window_start", "end_us")
            params["end_us"] = end_us
        return sql, params

    def _usages(self, value: str, lines: Sequence[Sequence[Any]]) -> list[Usage]:
        return [self._usage(value, *line) for line in lines]

    def _usage(self, value: str, provider: str, model: str, unit: str, used: Any, priced: Any) -> Usage:
        return Usage(self.dimension, value, provider, model, unit, integer(used), integer(priced))

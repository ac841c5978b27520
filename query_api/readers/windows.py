"""Reads of the window tables, always of one tenant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

import orjson
from msgspec import Meta

from query_api.readers.rows import Rows, integer
from query_api.readers.window_state import WindowState, bounds
from schemas.tables.windows import WINDOWS
from schemas.windows import to_iso

Order = Literal["asc", "desc"]

# An item that is gone is stored as an empty object.
_ITEMS = """
SELECT subject, grain, toUnixTimestamp64Micro(window_start) AS start_us, item, revision,
       toUnixTimestamp64Micro(computed_at) AS computed_us, positions, payload
FROM {table} FINAL
WHERE tenant = {{tenant:String}} AND payload != '{{}}'"""
_WINDOWS = """
SELECT subject, grain, toUnixTimestamp64Micro(window_start) AS start_us, max(revision) AS newest, toUnixTimestamp64Micro(max(computed_at)) AS computed_us,
       argMax(positions, revision) AS reached, groupArrayIf((item, payload), payload != '{{}}') AS items
FROM {table} FINAL
WHERE tenant = {{tenant:String}}"""
_COMPUTED = "SELECT count() AS found, toUnixTimestamp64Micro(max(computed_at)) AS computed_us FROM {table} WHERE tenant = {{tenant:String}}"


def _by_kind(template: str) -> dict[str, str]:
    return {kind: template.format(table=table.name) for kind, table in WINDOWS.items()}


_ITEMS_OF: Final = _by_kind(_ITEMS)
_WINDOWS_OF: Final = _by_kind(_WINDOWS)
_COMPUTED_OF: Final = _by_kind(_COMPUTED)

_CONDITIONS: Final = {
    "subject": " AND subject = {subject:String}",
    "grain": " AND grain = {grain:String}",
    "item": " AND item = {item:String}",
    "start_us": " AND window_start >= fromUnixTimestamp64Micro({start_us:Int64})",
    "end_us": " AND window_start < fromUnixTimestamp64Micro({end_us:Int64})",
}
_PLACE: Final = "({c_subject:String}, {c_grain:String}, {c_start:Int64}, {c_item:String})"
_AFTER: Final[Mapping[Order, str]] = {
    "asc": f" AND (subject, grain, toUnixTimestamp64Micro(window_start), item) > {_PLACE}",
    "desc": f" AND (subject, grain, toUnixTimestamp64Micro(window_start), item) < {_PLACE}",
}
_ORDER: Final[Mapping[Order, str]] = {
    "asc": " ORDER BY subject, grain, window_start, item LIMIT {limit:UInt32}",
    "desc": " ORDER BY subject DESC, grain DESC, window_start DESC, item DESC LIMIT {limit:UInt32}",
}
_NEWEST: Final = """
GROUP BY subject, grain, window_start
HAVING newest > {after_revision:Int64} AND computed_us >= {computed_since_us:Int64}
ORDER BY computed_us DESC, newest DESC LIMIT {limit:UInt32}"""
_COVERED: Final = """
SELECT subject, positions[{place:String}] AS high FROM watermarks FINAL
WHERE kind = {kind:String} AND tenant = {tenant:String} AND mapContains(positions, {place:String})"""


class Key(NamedTuple):
    """Place of an item in the order of a list."""

    subject: str
    grain: str
    start_us: Annotated[int, Meta(ge=0, le=2**62)]
    item: str


@dataclass(frozen=True)
class WindowFilter:
    """Which windows of a tenant; None leaves a field open."""

    subject: str | None = None
    grain: str | None = None
    item: str | None = None
    start_us: int | None = None
    """Windows that start at or after this."""
    end_us: int | None = None
    """Windows that start before this."""

    def chosen(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name in _CONDITIONS if (value := getattr(self, name)) is not None}

    def takes(self, item: "WindowItem") -> bool:
        """Whether an item that did not come from the table is among them."""
        exact = all(value in (None, getattr(item, name)) for name, value in (("subject", self.subject), ("grain", self.grain), ("item", self.item)))
        return exact and (self.start_us is None or item.start_us >= self.start_us) and (self.end_us is None or item.start_us < self.end_us)


@dataclass(frozen=True)
class WindowItem:
    """One item of one window at its newest revision."""

    kind: str
    subject: str
    grain: str
    start_us: int
    item: str
    revision: int
    computed_us: int
    positions: Mapping[str, int]
    payload: str
    """A JSON object, as stored."""

    @property
    def key(self) -> Key:
        return Key(self.subject, self.grain, self.start_us, self.item)

    def plain(self) -> dict[str, Any]:
        """The item as JSON-able values; the stored figures go in unchanged."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            **bounds(self.grain, self.start_us),
            "item": self.item,
            "revision": self.revision,
            "computed_at": to_iso(self.computed_us),
            "positions": dict(self.positions),
            "figures": orjson.Fragment(self.payload),
        }


class WindowReader:
    """Reads windows of the kinds in `schemas.tables.windows.WINDOWS`; another kind raises KeyError."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def page(self, kind: str, tenant: str, wanted: WindowFilter, *, limit: int, after: Key | None = None, order: Order = "asc") -> list[WindowItem]:
        """Items in the order of subject, grain, start and item, from behind a place on."""
        params = wanted.chosen()
        sql = _ITEMS_OF[kind] + "".join(_CONDITIONS[name] for name in params)
        if after is not None:
            sql += _AFTER[order]
            params |= {"c_subject": after.subject, "c_grain": after.grain, "c_start": after.start_us, "c_item": after.item}
        found = await self._rows.query(sql + _ORDER[order], {**params, "tenant": tenant, "limit": limit})
        return [
            WindowItem(
                kind,
                str(row["subject"]),
                str(row["grain"]),
                integer(row["start_us"]),
                str(row["item"]),
                integer(row["revision"]),
                integer(row["computed_us"]),
                _positions(row["positions"]),
                str(row["payload"]),
            )
            for row in found
        ]

    async def newest(
        self, kind: str, tenant: str, wanted: WindowFilter, *, limit: int, after_revision: int = -1, computed_since_us: int = 0
    ) -> list[WindowState]:
        """The windows computed last, newest first, each with all its items."""
        params = wanted.chosen()
        sql = _WINDOWS_OF[kind] + "".join(_CONDITIONS[name] for name in params) + _NEWEST
        limits = {"limit": limit, "after_revision": after_revision, "computed_since_us": computed_since_us}
        return [
            WindowState(
                tenant,
                kind,
                str(row["subject"]),
                str(row["grain"]),
                integer(row["start_us"]),
                integer(row["newest"]),
                integer(row["computed_us"]),
                _positions(row["reached"]),
                "{" + ",".join(f"{orjson.dumps(name).decode()}:{payload}" for name, payload in sorted(row["items"])) + "}",
            )
            for row in await self._rows.query(sql, {**params, **limits, "tenant": tenant})
        ]

    async def covered(self, kind: str, tenant: str, place: str) -> dict[str, int]:
        """Highest offset of `topic:partition` that the cumulative windows include, by the subject whose blocks feed them."""
        found = await self._rows.query(_COVERED, {"kind": kind, "tenant": tenant, "place": place})
        return {str(row["subject"]): integer(row["high"]) for row in found}

    async def computed(self, kind: str, tenant: str) -> int | None:
        """When a window of the tenant was computed last, in microseconds; None when there is none."""
        (row,) = await self._rows.query(_COMPUTED_OF[kind], {"tenant": tenant})
        return integer(row["computed_us"]) if integer(row["found"]) else None


def _positions(values: Mapping[str, Any]) -> dict[str, int]:
    return {str(place): integer(offset) for place, offset in values.items()}

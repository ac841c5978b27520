"""Reads of telemetry events: in the order of their time, and what is computed over them.

An event is one row however often it was sent. The time is no part of the table's order, so every page looks at the time of all that the filter lets
through; what is large the engine then reads of the rows of the page alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import Meta

from query_api.readers.conditions import Conditions
from query_api.readers.rows import Rows, integer
from schemas.run_sql import RUN_ID
from schemas.telemetry_field import TelemetryField

Function = Literal["count", "avg", "sum", "min", "max", "p50", "p95", "p99"]
Group = Literal["event_name", "experiment_id"] | TelemetryField
MOST_ROWS: Final = 10_000
"""Of what is computed."""

_PAGE: Final = """
SELECT event_id, event_name, experiment, toUnixTimestamp64Micro(time) AS time_us, measurements, metadata, extra
FROM telemetry FINAL
WHERE {where}
ORDER BY time {order}, event_id {order}, event_name {order} LIMIT {{limit:UInt64}} OFFSET {{offset:UInt64}}
"""
_PLACE_TIME: Final = "fromUnixTimestamp64Micro({place_us:Int64}, 'UTC')"
_TOTAL: Final = "SELECT count() AS total, toUnixTimestamp64Micro(max(time)) AS latest_us FROM telemetry FINAL WHERE {where}"
_COMPUTED: Final = """
SELECT {at} AS at_us, label, count() AS counted, {value} AS value
FROM (
  SELECT toUnixTimestamp64Micro(time) AS time_us, {bin} AS bin, {label} AS label, {number} AS number
  FROM telemetry FINAL WHERE {where}
)
WHERE isNotNull(number) GROUP BY bin, label ORDER BY {order} LIMIT {{most:UInt32}}
"""
# Extracted as a text, a number would be one as well.
_MODEL: Final = "JSONType(metadata, 'model') = 'String' AND JSONExtractString(metadata, 'model') = {model:String}"
_VALUES: Final[Mapping[Function, str]] = {
    "count": "count()",
    "avg": "avg(number)",
    "sum": "sum(number)",
    "min": "min(number)",
    "max": "max(number)",
    "p50": "quantileExact(0.5)(number)",
    "p95": "quantileExact(0.95)(number)",
    "p99": "quantileExact(0.99)(number)",
}


@dataclass(frozen=True)
class TelemetryFilter:
    """Which events; None leaves a field open."""

    event_name: str | None = None
    """The parts joined by dots."""
    experiment_id: str | None = None
    run_id: str | None = None
    """As `RUN_ID` says which run an event belongs to."""
    model: str | None = None
    """`metadata.model`, of those where it is text."""
    after_us: int | None = None
    """At or after this."""
    before_us: int | None = None


class Place(NamedTuple):
    """Of an event among all: no two are at the same."""

    time_us: Annotated[int, Meta(ge=-(2**62), le=2**62)]
    event_id: str
    event_name: str


@dataclass(frozen=True)
class TelemetryEvent:
    """An event as it is stored; the objects are the client's own JSON, empty when they were not sent."""

    event_id: str
    event_name: str
    experiment: str
    time_us: int
    measurements: str
    metadata: str
    extra: str

    @property
    def place(self) -> Place:
        return Place(self.time_us, self.event_id, self.event_name)


@dataclass(frozen=True)
class Question:
    """What is computed over events."""

    function: Function
    of: TelemetryField | None = None
    """Events without a number there do not count; without a field, all do."""
    by: Group | None = None
    width_us: int | None = None
    """Of the bins of time; None for one over all time."""
    largest_first: bool = False
    """By the number of events; else by time and group."""


class Computed(NamedTuple):
    """A value over the events of a bin and a group."""

    at_us: int
    """Begin of the bin, or the time of the first event that counts."""
    group: str
    """JSON; empty for events without one."""
    counted: int
    value: float | None
    """None when it is beyond what a double holds."""


class TelemetryReader:
    """Reads telemetry of one tenant."""

    def __init__(self, rows: Rows, tenant: str) -> None:
        self._rows = rows
        self._tenant = tenant

    async def newest(self, wanted: TelemetryFilter, *, limit: int, offset: int = 0, behind: Place | None = None) -> list[TelemetryEvent]:
        """Up to `limit` events from behind a place on, the newest first; equal times by falling id and name."""
        sql, params = self._page(wanted, "DESC", limit, offset, behind)
        return [event_of(row) for row in await self._rows.query(sql, params)]

    async def oldest(self, wanted: TelemetryFilter, *, limit: int, behind: Place | None = None) -> list[TelemetryEvent]:
        """The same from the oldest on, for reads of everything."""
        sql, params = self._page(wanted, "ASC", limit, 0, behind)
        return [event_of(row) for row in (await self._rows.table(sql, params)).to_pylist()]

    async def total(self, wanted: TelemetryFilter) -> tuple[int, int]:
        """How many events these are, and the time of the last one, in microseconds."""
        within = self._within(wanted)
        (row,) = await self._rows.query(_TOTAL.format(where=within.where), within.params)
        return integer(row["total"]), integer(row["latest_us"])

    async def computed(self, wanted: TelemetryFilter, asked: Question) -> list[Computed]:
        """Up to `MOST_ROWS` values and one more, which tells that there are more. Events of an absurd time are left out, as of windows. A percentile is
        exact: the value at rank floor(p * n) + 1 of n, by ClickHouse's quantileExact."""
        within = self._within(wanted).and_also("quarantined = 0", most=MOST_ROWS + 1)
        label, of_label = _label(asked.by)
        number, of_number = _number(asked)
        sql = _COMPUTED.format(
            where=within.where,
            at="min(time_us)" if asked.width_us is None else "bin",
            bin="0" if asked.width_us is None else "intDiv(time_us, {width:Int64}) * {width:Int64}",
            label=label,
            number=number,
            value=_VALUES[asked.function],
            order="counted DESC, label" if asked.largest_first else "bin, label",
        )
        rows = await self._rows.query(sql, {**within.params, **of_label, **of_number, "width": asked.width_us or 0})
        return [Computed(integer(row["at_us"]), row["label"], integer(row["counted"]), row["value"]) for row in rows]

    def _within(self, wanted: TelemetryFilter) -> Conditions:
        found = Conditions(["tenant = {tenant:String}"], {"tenant": self._tenant})
        if wanted.event_name is not None:
            found = found.and_also("event_name = {event_name:String}", event_name=wanted.event_name)
        if wanted.experiment_id is not None:
            found = found.and_also("experiment = {experiment:String}", experiment=wanted.experiment_id)
        if wanted.run_id is not None:
            found = found.and_also(f"{RUN_ID} = {{run_id:String}}", run_id=wanted.run_id)
        if wanted.model is not None:
            found = found.and_also(_MODEL, model=wanted.model)
        if wanted.after_us is not None:
            found = found.and_also("time >= fromUnixTimestamp64Micro({after_us:Int64}, 'UTC')", after_us=wanted.after_us)
        if wanted.before_us is not None:
            found = found.and_also("time < fromUnixTimestamp64Micro({before_us:Int64}, 'UTC')", before_us=wanted.before_us)
        return found

    def _page(self, wanted: TelemetryFilter, order: Literal["ASC", "DESC"], limit: int, offset: int, behind: Place | None) -> tuple[str, dict[str, Any]]:
        within = self._within(wanted)
        if behind is not None:
            # The bound on time says the same again, in terms of its index.
            less = "<" if order == "DESC" else ">"
            condition = f"time {less}= {_PLACE_TIME} AND (time, event_id, event_name) {less} ({_PLACE_TIME}, {{place_id:String}}, {{place_name:String}})"
            within = within.and_also(condition, place_us=behind.time_us, place_id=behind.event_id, place_name=behind.event_name)
        return _PAGE.format(where=within.where, order=order), {**within.params, "limit": limit, "offset": offset}


def _label(by: Group | None) -> tuple[str, Mapping[str, str]]:
    """JSON of what an event is grouped by, with its parameters."""
    if by is None:
        return "''", {}
    if by == "event_name":
        return "toJSONString(event_name)", {}
    if by == "experiment_id":
        return "if(experiment = '', '', toJSONString(experiment))", {}
    raw, params = _raw(by, "by")
    return f"if({raw} = 'null', '', {raw})", params


def _number(asked: Question) -> tuple[str, Mapping[str, str]]:
    """What an event adds to the value, NULL when it does not count, with its parameters."""
    if asked.of is None:
        return "0", {}
    raw, params = _raw(asked.of, "of")
    if asked.function == "count" and asked.of.holder == "metadata":
        return f"if({raw} IN ('', 'null'), NULL, 0)", params
    # Extracted as a number, a text such as "12" would be one as well.
    return f"if(JSONType({raw}) IN ('Int64', 'UInt64', 'Double'), JSONExtractFloat({raw}), NULL)", params


def _raw(field: TelemetryField, name: str) -> tuple[str, dict[str, str]]:
    """The JSON of a field, empty where it is not there; the names go in as parameters that begin with `name`."""
    whole = f"JSONExtractRaw({field.holder}, {{{name}:String}})"
    if len(field.path) == 1:
        return whole, {name: field.name}
    steps = {f"{name}_{number}": step for number, step in enumerate(field.path)}
    nested = ", ".join(f"{{{step}:String}}" for step in steps)
    return f"if(JSONHas({field.holder}, {{{name}:String}}), {whole}, JSONExtractRaw({field.holder}, {nested}))", {name: field.name, **steps}


def event_of(row: Mapping[str, Any]) -> TelemetryEvent:
    """The event of a row that has these columns."""
    return TelemetryEvent(row["event_id"], row["event_name"], row["experiment"], integer(row["time_us"]), row["measurements"], row["metadata"], row["extra"])

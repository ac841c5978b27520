"""The values of a measurement in an experiment's telemetry, by group: what statistical tests are made of.

An event that was sent several times counts once, and quarantined events do not count. Values are JSON numbers; anything else under the name is no value.
A group is the text of a field of the metadata, or a number or a truth value as it is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from infra.runtime.errors import QueryLimit
from query_api.readers.rows import Rows, integer

MOST_VALUES: Final = 1_000_000
"""In one test, all groups together."""
_MOST_GROUPS: Final = 50
EVENT_NAME: Final = "event_name"
"""Groups by the name of the event in place of a field of its metadata."""

_FIELD: Final = """multiIf(JSONType(metadata, {{{name}:String}}) = 'String', JSONExtractString(metadata, {{{name}:String}}),
        JSONType(metadata, {{{name}:String}}) IN ('Int64', 'UInt64', 'Double', 'Bool'), JSONExtractRaw(metadata, {{{name}:String}}), '')"""
_ARM: Final = f"if({{group_by:String}} = '{EVENT_NAME}', event_name, {_FIELD.format(name='group_by')})"
_IS_NUMBER: Final = "JSONType(measurements, {metric:String}) IN ('Int64', 'UInt64', 'Double')"
_CHOSEN: Final = """tenant = {tenant:String} AND experiment = {experiment:String} AND quarantined = 0
      AND ({event_name:String} = '' OR event_name = {event_name:String})
      AND time > fromUnixTimestamp64Micro({after_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({before_us:Int64}, 'UTC')"""
_OF_ARMS: Final = f"{_CHOSEN} AND arm IN {{groups:Array(String)}} AND {_IS_NUMBER} AND isFinite(value)"
_VALUE: Final = "JSONExtractFloat(measurements, {metric:String})"

# Sorted, so that sums of the same values are the same to the last digit.
_VALUES: Final = f"""
SELECT arm, arraySort(groupArray(value)) AS values
FROM (SELECT {_ARM} AS arm, {_VALUE} AS value FROM telemetry FINAL WHERE {_OF_ARMS} LIMIT {MOST_VALUES + 1})
GROUP BY arm
"""
_PAIRS: Final = f"""
SELECT groupArrayIf(first, ones > 0 AND others > 0) AS firsts, groupArrayIf(second, ones > 0 AND others > 0) AS seconds,
       countIf(others = 0) AS alone, countIf(ones = 0) AS other_alone, sum(ones + others) AS events
FROM (
    SELECT countIf(arm = {{groups:Array(String)}}[1]) AS ones, countIf(arm = {{groups:Array(String)}}[2]) AS others,
           avgIf(value, arm = {{groups:Array(String)}}[1]) AS first, avgIf(value, arm = {{groups:Array(String)}}[2]) AS second
    FROM (
        SELECT {_ARM} AS arm, {_FIELD.format(name="pair_by")} AS pair, {_VALUE} AS value
        FROM telemetry FINAL WHERE {_OF_ARMS} AND pair != '' LIMIT {MOST_VALUES + 1}
    )
    GROUP BY pair ORDER BY pair
)
"""
_GROUPS: Final = f"""
SELECT {_ARM} AS arm, countIf({_IS_NUMBER}) AS numbers FROM telemetry FINAL
WHERE {_CHOSEN} AND arm != '' GROUP BY arm ORDER BY arm IN {{groups:Array(String)}} DESC, count() DESC, arm LIMIT {_MOST_GROUPS}
"""
_ANY: Final = "SELECT 1 FROM telemetry WHERE tenant = {tenant:String} AND experiment = {experiment:String} LIMIT 1"
_LATEST_US: Final = 9_000_000_000_000_000


@dataclass(frozen=True)
class Selection:
    """Which values of an experiment, and by what they are grouped."""

    experiment: str
    metric: str
    """Name of the measurement."""
    group_by: str = "model"
    """Field of the metadata, or `event_name`."""
    event_name: str | None = None
    after_us: int | None = None
    before_us: int | None = None


@dataclass(frozen=True)
class PairedValues:
    """Values of two groups that belong together, in the same order; several events of a pair are their mean."""

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    alone: tuple[int, int]
    """How many of each group found no other half."""


class TelemetryValues:
    """Reads telemetry. Raises Unavailable, and QueryLimit for more values than `MOST_VALUES` or beyond the limits of the read-only user."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def of_groups(self, tenant: str, selection: Selection, groups: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """The values by group, rising; a group without one is left out."""
        table = await self._rows.table(_VALUES, {**_parameters(tenant, selection), "groups": list(groups)})
        if not table.num_rows:
            return {}
        found = {str(name): _numbers(values) for name, values in zip(table["arm"].to_pylist(), table["values"], strict=True)}
        _check(sum(values.size for values in found.values()))
        return found

    async def of_pairs(self, tenant: str, selection: Selection, groups: Sequence[str], pair_by: str) -> PairedValues:
        """Of two groups, by the field of the metadata that says what belongs together."""
        table = await self._rows.table(_PAIRS, {**_parameters(tenant, selection), "groups": list(groups), "pair_by": pair_by})
        row = {name: table[name][0] for name in table.column_names}
        _check(integer(row["events"].as_py()))
        alone, other_alone = (integer(row[name].as_py()) for name in ("alone", "other_alone"))
        return PairedValues(_numbers(row["firsts"]), _numbers(row["seconds"]), (alone, other_alone))

    async def groups(self, tenant: str, selection: Selection, first: Sequence[str]) -> dict[str, int]:
        """How many values each group has, by name: those named first, then the ones with the most events; of many groups a part."""
        rows = await self._rows.query(_GROUPS, {**_parameters(tenant, selection), "groups": list(first)})
        return {row["arm"]: integer(row["numbers"]) for row in rows}

    async def any_of(self, tenant: str, experiment: str) -> bool:
        """Whether the experiment ever sent an event, quarantined or not."""
        return bool(await self._rows.query(_ANY, {"tenant": tenant, "experiment": experiment}))


def _parameters(tenant: str, selection: Selection) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "experiment": selection.experiment,
        "metric": selection.metric,
        "group_by": selection.group_by,
        "event_name": selection.event_name or "",
        "after_us": -1 if selection.after_us is None else selection.after_us,
        "before_us": _LATEST_US if selection.before_us is None else selection.before_us,
    }


def _numbers(listed: Any) -> NDArray[np.float64]:
    """Of an Arrow scalar that is a list."""
    return np.asarray(listed.values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _check(values: int) -> None:
    if values > MOST_VALUES:
        raise QueryLimit(f"the groups have more than {MOST_VALUES:,} values; narrow them with options.after, options.before or options.event_name")

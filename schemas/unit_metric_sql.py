"""What a metric is over the rows of `events`, as one SELECT: used by the agent that computes it and by the replay that recomputes it.

Per unit first: the first exposure and the variant; the value `y` over the unit's events from then on, for `window_s` seconds if the metric
says so; and `x`, which is the denominator of a ratio, or else the value over the `covariate_days` before the first exposure (events that name
this experiment or none). Then sums by variant, or for a quantile the order statistics that `schemas.quantiles.LEVELS` names.
Winsorising sets every `y` above the quantile over all units of all variants to that quantile: with n units, the value of rank floor(n * q) + 1 at most.

By segment the same is summed for each part of the units. A unit's segment is what its first exposure says: the SDK or the source that sent it, or a
property of its metadata; text as it is, anything else as JSON, empty where there is none. It is known before any effect, so the parts are as
randomised as the whole.
"""

from collections.abc import Sequence
from typing import Any

from schemas.definition_kinds import Metric
from schemas.quantiles import LEVELS
from schemas.windows import ALL_TIME, MICROSECONDS

_DAY_US = 86_400 * MICROSECONDS


def adjusts(metric: Metric) -> bool:
    """Whether values before the exposure reduce the variance."""
    return metric.covariate_days > 0 and metric.kind in ("mean", "count", "proportion")


def winsorizes(metric: Metric) -> bool:
    """Whether large values are capped."""
    return metric.winsorize < 1.0 and metric.kind in ("mean", "count")


def needs_rows(metric: Metric) -> bool:
    """Whether the totals per unit and event type do not suffice, so that the rows have to be read."""
    return metric.kind == "quantile" or metric.window_s > 0 or adjusts(metric) or winsorizes(metric)


SEGMENT_FORM = r"^(sdk|source|metadata\.[^\x00-\x1f\x7f]{1,100})$"
"""What units can be divided by."""
MAX_SEGMENT_CHARS = 200
"""Characters of a segment's name; longer values that begin alike are one segment."""


def statement(metric: Metric, segment: str = "") -> str:
    """The SELECT. One row per variant, and one with the variant '' for units that saw several of them; with a `segment`, of `SEGMENT_FORM`, as many for
    each of the segments that the parameter `segments` names, with its name as `segment`.

    A quantile gives variant, units, ranks, sample; anything else variant, units, sy, sx, syy, sxx, sxy, cap (0 without winsorising).
    """
    units = _units(metric, segment)
    keys, chosen = ("segment, variant", ["segment IN {segments:Array(String)}"]) if segment else ("variant", [])
    if metric.kind == "quantile":
        chosen += ["seen > 0"] if metric.skip_missing else []
        return f"""
SELECT {keys}, units, ranks, arrayMap(r -> ys[r], ranks) AS sample
FROM (
    SELECT {keys}, count() AS units, arraySort(groupArray(y)) AS ys,
        arraySort(arrayDistinct(arrayMap(l -> greatest(1, least(toInt64(units), toInt64(ceil(units * {{q:Float64}} + l * sqrt(units * {{q:Float64}} * (1 - {{q:Float64}})))))),
            {{levels:Array(Float64)}}))) AS ranks
    FROM ({units}){_where(chosen)} GROUP BY {keys}
)
"""
    cap = "0."
    if winsorizes(metric):
        cap = f"(SELECT quantileExact({metric.winsorize!r})(y) FROM ({units}) WHERE variant != '')"
    capped = "least(y, cap)" if winsorizes(metric) else "y"
    return f"""
WITH {cap} AS cap
SELECT {keys}, count() AS units, sum(v) AS sy, sum(x) AS sx, sum(v * v) AS syy, sum(x * x) AS sxx, sum(v * x) AS sxy, cap
FROM (SELECT {keys}, {capped} AS v, x FROM ({units}){_where(chosen)}) GROUP BY {keys}
"""


def segments_statement(segment: str) -> str:
    """The SELECT of the largest segments: segment, arms (pairs of a variant and its units), total, and how many segments there are."""
    return f"""
SELECT segment, groupArray((variant, units)) AS arms, sum(units) AS total, count() OVER () AS segments
FROM (SELECT segment, variant, count() AS units FROM ({_units(_ANY, segment)}) GROUP BY segment, variant)
GROUP BY segment ORDER BY total DESC, segment LIMIT {{most:UInt32}}
"""


def segment_parameters(tenant: str, experiment: str, span: tuple[int, int] | None, segment: str, most: int) -> dict[str, Any]:
    """What `segments_statement` takes."""
    return parameters(_ANY, tenant, experiment, span, segment) | {"most": most}


def parameters(
    metric: Metric, tenant: str, experiment: str, span: tuple[int, int] | None = None, segment: str = "", segments: Sequence[str] = ()
) -> dict[str, Any]:
    """What the statement takes. `span` limits exposures and events to a range of event times (microseconds, end exclusive)."""
    start, end = span or ALL_TIME
    before = metric.covariate_days * _DAY_US if adjusts(metric) else 0
    named: dict[str, Any] = {"tenant": tenant, "experiment": experiment, "start": start, "end": end, "since": max(0, start - before), "before": before}
    named |= {"type": metric.event_type, "path": metric.value_path, "window": metric.window_s * MICROSECONDS}
    named |= {"denominator": metric.denominator_event_type, "denominator_path": metric.denominator_value_path}
    named |= {"property": segment.partition(".")[2], "segments": list(segments)} if segment else {}
    return named | ({"q": metric.quantile, "levels": list(LEVELS)} if metric.kind == "quantile" else {})


_ANY = Metric(tenant="any", id="any", event_type="exposure")
"""Stands for a metric where only the units are counted."""


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _origin(segment: str) -> str:
    """The segment that an event names."""
    if segment in ("sdk", "source"):
        return f"toString({segment})"
    text = "JSONExtractString(metadata, {property:String})"
    return f"leftUTF8(if(JSONType(metadata, {{property:String}}) = 'String', {text}, JSONExtractRaw(metadata, {{property:String}})), {MAX_SEGMENT_CHARS})"


def _amount(metric: Metric, path: str, name: str) -> str:
    """The value of an event; 1 where events are counted."""
    if not path or metric.kind in ("count", "proportion"):
        return "1."
    if path == "value":
        return "ifNull(value, 0.)"
    return f"ifNull(JSONExtract(metadata, {{{name}:String}}, 'Nullable(Float64)'), 0.)"


def _units(metric: Metric, segment: str = "") -> str:
    """One row per exposed unit: unit, variant, y, x, seen, and its segment where one is asked for."""
    ratio, before = metric.kind == "ratio", adjusts(metric)
    types = "event_type IN ({type:String}, {denominator:String})" if ratio else "event_type = {type:String}"
    experiments = "experiment IN ({experiment:String}, '')" if before else "experiment = {experiment:String}"
    # Events that name no experiment may be those of units that never took part; they are left out before anything is kept of them.
    taking_part = (
        " AND unit IN (SELECT unit FROM events WHERE tenant = {tenant:String} AND experiment = {experiment:String} AND variant != '')" if before else ""
    )
    in_window = "e.1 >= first AND ({window:Int64} = 0 OR e.1 < first + {window:Int64})"
    others = ", groupArrayIf((at, lower), own AND type = {denominator:String}) AS bottoms" if ratio else ""
    others += ", groupArrayIf((at, upper), type = {type:String}) AS earlier" if before else ""
    origin, said, shown = "", "", ""
    if segment:
        origin = f", if(own, {_origin(segment)}, '') AS origin"
        # Of exposures at the same time the first by name counts, so that the answer never varies.
        said = ", tupleElement(minIf((at, origin), arm != '' AND at >= {start:Int64}), 2) AS segment"
        shown = ", segment"
    y = "toFloat64(seen > 0)" if metric.kind == "proportion" else "arraySum(e -> e.2, counted)"
    x = "0."
    if ratio:
        x = f"arraySum(e -> if({in_window}, e.2, 0.), bottoms)"
    elif before:
        past = "e.1 < first AND e.1 >= first - {before:Int64}"
        x = f"arraySum(e -> if({past}, e.2, 0.), earlier)"
        x = f"toFloat64({x} > 0)" if metric.kind == "proportion" else x
    return f"""
SELECT unit, if(low = high, high, '') AS variant, arrayFilter(e -> {in_window}, tops) AS counted, length(counted) AS seen, {y} AS y, {x} AS x{shown}
FROM (
    SELECT unit, minIf(at, arm != '' AND at >= {{start:Int64}}) AS first, minIf(arm, arm != '' AND at >= {{start:Int64}}) AS low,
        maxIf(arm, arm != '' AND at >= {{start:Int64}}) AS high, groupArrayIf((at, upper), own AND type = {{type:String}}) AS tops{others}{said}
    FROM (
        SELECT unit, toUnixTimestamp64Micro(time) AS at, toString(event_type) AS type, experiment = {{experiment:String}} AS own,
            if(own, toString(variant), '') AS arm, {_amount(metric, metric.value_path, "path")} AS upper,
            {_amount(metric, metric.denominator_value_path, "denominator_path")} AS lower{origin}
        FROM events FINAL
        WHERE tenant = {{tenant:String}} AND {experiments} AND quarantined = 0 AND ({types} OR variant != '')
            AND time >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') AND time < fromUnixTimestamp64Micro({{end:Int64}}, 'UTC'){taking_part}
    )
    GROUP BY unit HAVING high != ''
)
"""

"""What a metric is over the rows of `events`, as one SELECT: used by the agent that computes it and by the replay that recomputes it.

Per unit first: the first exposure and the variant; the value `y` over the unit's events from then on, for `window_s` seconds if the metric
says so; and `x`, which is the denominator of a ratio, or else the value over the `covariate_days` before the first exposure (events that name
this experiment or none). Then sums by variant, or for a quantile the order statistics that `schemas.quantiles.LEVELS` names.
Winsorising sets every `y` above the quantile over all units of all variants to that quantile: with n units, the value of rank floor(n * q) + 1 at most.
"""

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


def statement(metric: Metric) -> str:
    """The SELECT. One row per variant, and one with the variant '' for units that saw several of them.

    A quantile gives variant, units, ranks, sample; anything else variant, units, sy, sx, syy, sxx, sxy, cap (0 without winsorising).
    """
    units = _units(metric)
    if metric.kind == "quantile":
        chosen = " WHERE seen > 0" if metric.skip_missing else ""
        return f"""
SELECT variant, units, ranks, arrayMap(r -> ys[r], ranks) AS sample
FROM (
    SELECT variant, count() AS units, arraySort(groupArray(y)) AS ys,
        arraySort(arrayDistinct(arrayMap(l -> greatest(1, least(toInt64(units), toInt64(ceil(units * {{q:Float64}} + l * sqrt(units * {{q:Float64}} * (1 - {{q:Float64}})))))),
            {{levels:Array(Float64)}}))) AS ranks
    FROM ({units}){chosen} GROUP BY variant
)
"""
    cap = "0."
    if winsorizes(metric):
        cap = f"(SELECT quantileExact({metric.winsorize!r})(y) FROM ({units}) WHERE variant != '')"
    capped = "least(y, cap)" if winsorizes(metric) else "y"
    return f"""
WITH {cap} AS cap
SELECT variant, count() AS units, sum(v) AS sy, sum(x) AS sx, sum(v * v) AS syy, sum(x * x) AS sxx, sum(v * x) AS sxy, cap
FROM (SELECT variant, {capped} AS v, x FROM ({units})) GROUP BY variant
"""


def parameters(metric: Metric, tenant: str, experiment: str, span: tuple[int, int] | None = None) -> dict[str, Any]:
    """What the statement takes. `span` limits exposures and events to a range of event times (microseconds, end exclusive)."""
    start, end = span or ALL_TIME
    before = metric.covariate_days * _DAY_US if adjusts(metric) else 0
    named: dict[str, Any] = {"tenant": tenant, "experiment": experiment, "start": start, "end": end, "since": max(0, start - before), "before": before}
    named |= {"type": metric.event_type, "path": metric.value_path, "window": metric.window_s * MICROSECONDS}
    named |= {"denominator": metric.denominator_event_type, "denominator_path": metric.denominator_value_path}
    return named | ({"q": metric.quantile, "levels": list(LEVELS)} if metric.kind == "quantile" else {})


def _amount(metric: Metric, path: str, name: str) -> str:
    """The value of an event; 1 where events are counted."""
    if not path or metric.kind in ("count", "proportion"):
        return "1."
    if path == "value":
        return "ifNull(value, 0.)"
    return f"ifNull(JSONExtract(metadata, {{{name}:String}}, 'Nullable(Float64)'), 0.)"


def _units(metric: Metric) -> str:
    """One row per exposed unit: unit, variant, y, x, seen."""
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
    y = "toFloat64(seen > 0)" if metric.kind == "proportion" else "arraySum(e -> e.2, counted)"
    x = "0."
    if ratio:
        x = f"arraySum(e -> if({in_window}, e.2, 0.), bottoms)"
    elif before:
        past = "e.1 < first AND e.1 >= first - {before:Int64}"
        x = f"arraySum(e -> if({past}, e.2, 0.), earlier)"
        x = f"toFloat64({x} > 0)" if metric.kind == "proportion" else x
    return f"""
SELECT unit, if(low = high, high, '') AS variant, arrayFilter(e -> {in_window}, tops) AS counted, length(counted) AS seen, {y} AS y, {x} AS x
FROM (
    SELECT unit, minIf(at, arm != '' AND at >= {{start:Int64}}) AS first, minIf(arm, arm != '' AND at >= {{start:Int64}}) AS low,
        maxIf(arm, arm != '' AND at >= {{start:Int64}}) AS high, groupArrayIf((at, upper), own AND type = {{type:String}}) AS tops{others}
    FROM (
        SELECT unit, toUnixTimestamp64Micro(time) AS at, toString(event_type) AS type, experiment = {{experiment:String}} AS own,
            if(own, toString(variant), '') AS arm, {_amount(metric, metric.value_path, "path")} AS upper,
            {_amount(metric, metric.denominator_value_path, "denominator_path")} AS lower
        FROM events FINAL
        WHERE tenant = {{tenant:String}} AND {experiments} AND quarantined = 0 AND ({types} OR variant != '')
            AND time >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') AND time < fromUnixTimestamp64Micro({{end:Int64}}, 'UTC'){taking_part}
    )
    GROUP BY unit HAVING high != ''
)
"""

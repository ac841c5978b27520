"""Queries on evaluations and their windows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from infra.runtime.clickhouse import ClickHouse
from schemas.avro import EvaluationTask
from schemas.cost import COARSER
from schemas.evaluation_tally import RESULTS, Tally
from schemas.tables.windows import WINDOWS
from schemas.windows import MICROSECONDS, Grain

_OF_RULE: Final = "tenant = {tenant:String} AND rule = {rule:String}"
_TALLIES: Final = f"""
SELECT toUnixTimestamp(toStartOfMinute(time)) AS minute_s, outcome, label, reason, currency,
       count() AS n, count(score) AS scores, sum(ifNull(score, 0)) AS score_sum, sum(calls) AS calls, sum(tokens) AS tokens, sum(cost) AS cost
FROM evaluations FINAL
WHERE {_OF_RULE} AND toStartOfMinute(time) IN (SELECT toDateTime(intDiv(arrayJoin({{starts:Array(Int64)}}), {MICROSECONDS}), 'UTC'))
GROUP BY minute_s, outcome, label, reason, currency
ORDER BY minute_s, outcome, label, reason, currency
"""
_STARTS: Final = "window_start IN (SELECT fromUnixTimestamp64Micro(arrayJoin({starts_%s:Array(Int64)}), 'UTC'))"
_STORED: Final = f"""
SELECT grain, toUnixTimestamp64Micro(window_start) AS start, payload FROM {WINDOWS["evaluation"].name} FINAL
WHERE tenant = {{tenant:String}} AND subject = {{rule:String}} AND item = '{RESULTS}' AND (%s)
ORDER BY start
"""
_WITHIN: Final = _STORED % " OR ".join(f"grain = '{grain}' AND {_STARTS % grain.name}" for grain in COARSER if COARSER[grain] is not Grain.ALL)
_DAYS: Final = _STORED % f"grain = '{Grain.DAY}' OR grain = '{Grain.MINUTE}' AND window_start >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC')"
_SPENT: Final = f"""
SELECT sum(calls) AS calls, sumIf(cost, currency = {{currency:String}}) AS cost FROM evaluations FINAL
WHERE {_OF_RULE} AND evaluated >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC')
"""
_KNOWN: Final = """
SELECT rule, trace_id, span_id, toUnixTimestamp64Micro(time) AS ended_us FROM evaluations
WHERE tenant = {tenant:String} AND rule IN {rules:Array(String)} AND span_id IN {spans:Array(String)}
  AND toStartOfMinute(time) IN (SELECT toStartOfMinute(fromUnixTimestamp64Micro(arrayJoin({ended:Array(Int64)}), 'UTC')))
"""


async def tallies(clickhouse: ClickHouse, tenant: str, rule: str, starts: Sequence[int], *, timeout: float) -> dict[int, Tally]:
    """What the evaluations of some minutes, by start in microseconds, add up to; minutes without any are left out."""
    rows = await clickhouse.query(_TALLIES, {"tenant": tenant, "rule": rule, "starts": list(starts)}, timeout=timeout)
    found: dict[int, Tally] = {}
    for row in rows:
        start = int(row["minute_s"]) * MICROSECONDS
        found[start] = found.get(start, Tally()) + _tally(row)
    return found


async def stored_within(
    clickhouse: ClickHouse, tenant: str, rule: str, wanted: Mapping[Grain, Sequence[int]], *, timeout: float
) -> dict[Grain, dict[int, Tally]]:
    """The tallies of a rule's windows of 1m, 5m and 1h that start at these times."""
    starts = {f"starts_{grain.name}": list(times) for grain, times in wanted.items()}
    rows = await clickhouse.query(_WITHIN, {"tenant": tenant, "rule": rule, **starts}, timeout=timeout)
    return _by_grain(rows)


async def stored_days(clickhouse: ClickHouse, tenant: str, rule: str, since_us: int, *, timeout: float) -> dict[Grain, dict[int, Tally]]:
    """The tallies of all of a rule's days, and of its minutes from a time on."""
    rows = await clickhouse.query(_DAYS, {"tenant": tenant, "rule": rule, "since": since_us}, timeout=timeout)
    return _by_grain(rows)


class SpentToday(NamedTuple):
    """What a rule's calls came to."""

    calls: int
    cost: float


async def spent(clickhouse: ClickHouse, tenant: str, rule: str, since_us: int, currency: str) -> SpentToday:
    """The calls of a rule since a time, and their cost in a currency."""
    (row,) = await clickhouse.query(_SPENT, {"tenant": tenant, "rule": rule, "since": since_us, "currency": currency})
    return SpentToday(int(row["calls"]), float(row["cost"]))


Done = tuple[str, str, str, str, int]
"""Tenant, rule, trace, span and end of a span that was judged."""


async def already_judged(clickhouse: ClickHouse, tasks: Sequence[EvaluationTask]) -> set[Done]:
    """Those of the tasks that have an evaluation, by what they are about."""
    by_tenant: dict[str, list[EvaluationTask]] = {}
    for task in tasks:
        by_tenant.setdefault(task.tenant, []).append(task)
    found: set[Done] = set()
    for tenant, mine in by_tenant.items():
        params: Mapping[str, Any] = {
            "tenant": tenant,
            "rules": sorted({task.rule for task in mine}),
            "spans": [task.span_id for task in mine],
            "ended": sorted({task.ended_us for task in mine}),
        }
        rows = await clickhouse.query(_KNOWN, params)
        found |= {(tenant, str(row["rule"]), str(row["trace_id"]), str(row["span_id"]), int(row["ended_us"])) for row in rows}
    return found


def _by_grain(rows: Sequence[Mapping[str, Any]]) -> dict[Grain, dict[int, Tally]]:
    found: dict[Grain, dict[int, Tally]] = {grain: {} for grain in Grain}
    for row in rows:
        found[Grain(row["grain"])][int(row["start"])] = Tally.from_figures(msgspec.json.decode(row["payload"]))
    return found


def _tally(row: Mapping[str, Any]) -> Tally:
    """The tally of evaluations that are alike."""
    count, label, judged = int(row["n"]), row["label"], row["outcome"] == "judged"
    return Tally(
        count=count,
        failures=0 if judged else count,
        scores=int(row["scores"]),
        score_sum=float(row["score_sum"]),
        labels={str(label): count} if judged and label is not None else {},
        reasons={} if judged else {str(row["reason"]): count},
        calls=int(row["calls"]),
        tokens=int(row["tokens"]),
        costs={str(row["currency"]): float(row["cost"])} if row["currency"] else {},
    )

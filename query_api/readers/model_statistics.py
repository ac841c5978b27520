"""What requests to a model came to, from the telemetry that names it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from query_api.readers.rows import Rows, integer
from schemas.token_usage_sql import MAX_TOKENS

MAX_REASON_CHARS: Final = 100
"""Characters of a reason of failure that are kept."""
_SHORT_CHARS: Final = 64
"""An `error` of no more characters is a reason; a longer one is a message of its own and would never be counted with another."""


def _reason(name: str) -> str:
    """A text, or a number as its text; empty for anything else."""
    value = f"JSONType(metadata, '{name}')"
    return (
        f"multiIf({value} = 'String', JSONExtractString(metadata, '{name}'), {value} IN ('Int64', 'UInt64', 'Double'), JSONExtractRaw(metadata, '{name}'), '')"
    )


def _said(name: str) -> str:
    return f"JSONExtractRaw(metadata, '{name}') NOT IN ('', '\"\"', 'null', 'false', '0', '{{}}', '[]')"


_MEASUREMENTS: Final = (
    "duration_ms", "latency_ms", "duration",
    "tokens", "total_tokens", "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens",
)  # fmt: skip


def _together(one: str, other: str) -> str:
    return f"if(m.{one} IS NULL AND m.{other} IS NULL, NULL, ifNull(m.{one}, 0.) + ifNull(m.{other}, 0.))"


def _named_by(field: str) -> str:
    said = f"JSONExtractString(metadata, '{field}')"
    return f"({said} = {{model:String}} OR lowerUTF8({said}) = lowerUTF8({{name:String}}))"


_ENDS: Final = "(inference|inference\\.stop|inference\\.exception|request\\.stop|request\\.exception|prediction\\.stop)"
"""Of the names of events that end a request."""
# What was received long before the period is skipped by its day: no event of the period is in it, as one too far ahead of the clock is quarantined.
_STATEMENT: Final = f"""
SELECT count() AS requests, countIf(failed) AS failures, avg(latency) AS mean, quantilesExactInclusive(0.5, 0.99)(latency) AS quantiles,
       toUInt64(ifNull(sum(least(greatest(used, 0.), {MAX_TOKENS}.)), 0)) AS all_tokens, sumMapIf([reason], [toUInt64(1)], failed) AS reasons
FROM (
    WITH JSONExtract(measurements, 'Tuple({", ".join(f"{name} Nullable(Float64)" for name in _MEASUREMENTS)})') AS m
    SELECT coalesce(m.duration_ms, m.latency_ms, m.duration) AS latency,
           coalesce(m.tokens, m.total_tokens, {_together("prompt_tokens", "completion_tokens")}, {_together("input_tokens", "output_tokens")}) AS used,
           match(event_name, '(^|\\.)exception$') OR {_said("error")} OR {_said("error_type")}
               OR lowerUTF8(JSONExtractString(metadata, 'status')) IN ('error', 'failed', 'timeout') AS failed,
           {_reason("error_type")} AS error_type, {_reason("error")} AS error,
           multiIf(error_type != '', leftUTF8(error_type, {MAX_REASON_CHARS}), lengthUTF8(error) BETWEEN 1 AND {_SHORT_CHARS}, error, 'error') AS reason
    FROM telemetry FINAL
    WHERE tenant = {{tenant:String}} AND quarantined = 0
        AND received >= fromUnixTimestamp64Micro({{received_us:Int64}}, 'UTC')
        AND time >= fromUnixTimestamp64Micro({{from_us:Int64}}, 'UTC') AND time <= fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')
        AND NOT match(event_name, '(^|\\.)start$') AND ({_named_by("model")} OR {_named_by("model_id")})
        AND (match(event_name, '(^|\\.){_ENDS}$') OR m.duration_ms IS NOT NULL OR m.latency_ms IS NOT NULL)
)
"""


@dataclass(frozen=True)
class ModelFigures:
    """Of the requests to a model in a period."""

    requests: int
    failures: int
    mean_ms: float | None
    """None where no request says how long it took."""
    median_ms: float | None
    p99_ms: float | None
    tokens: int
    reasons: Mapping[str, int]
    """Failures by reason."""


class ModelStatisticsReader:
    """Reads the telemetry of a tenant. Costs what the tenant's telemetry since the beginning of the period costs."""

    def __init__(self, rows: Rows, max_future_us: int) -> None:
        """`max_future_us` is how far ahead of the clock an event may be without being quarantined."""
        self._rows = rows
        self._max_future_us = max_future_us

    async def figures(self, tenant: str, id: str, name: str, from_us: int, to_us: int) -> ModelFigures:
        """Of events whose `metadata.model` or `metadata.model_id` is the id, or the name in capitals or not, from the first to the last instant.

        A request is an event that ends one, by its name, or says how long it took; quarantined events are none, and an id that was sent again is one
        event. It failed when its name ends in `exception`, its metadata has an `error` or `error_type`, or their `status` is error, failed or timeout.
        Quantiles are those of type 7 in Hyndman and Fan (1996), over every request. Raises Unavailable, and QueryLimit beyond the limits of the
        read-only user."""
        range_us = {"from_us": from_us, "to_us": to_us, "received_us": max(0, from_us - self._max_future_us)}
        (row,) = await self._rows.query(_STATEMENT, {"tenant": tenant, "model": id, "name": name, **range_us})
        return _figures(row)


def _figures(row: Mapping[str, Any]) -> ModelFigures:
    names, counts = row["reasons"]
    median, p99 = row["quantiles"]
    reasons = {str(name): integer(count) for name, count in zip(names, counts, strict=True)}
    return ModelFigures(integer(row["requests"]), integer(row["failures"]), row["mean"], median, p99, integer(row["all_tokens"]), reasons)

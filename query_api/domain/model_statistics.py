"""How a model does: its requests over the time up to now, as its telemetry tells."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from query_api.domain.instants import instant
from query_api.domain.ml_models import MlModels
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.model_statistics import ModelStatisticsReader
from schemas.position import Positions

Period = Literal["1h", "24h", "7d", "30d"]
MOST_REASONS: Final = 100
"""Different reasons of failure in an answer; those that are seldom count together as `other`."""
_S: Final = 1_000_000
_HOUR_US: Final = 3_600 * _S
_LENGTHS_US: Final[Mapping[Period, int]] = {"1h": _HOUR_US, "24h": 24 * _HOUR_US, "7d": 7 * 24 * _HOUR_US, "30d": 30 * 24 * _HOUR_US}


async def model_statistics(parts: Parts, tenant: str, id: str, period: Period, wait: Wait) -> tuple[Positions, dict[str, Any]]:
    """A watermark and the statistics as the surface shows them, as of it; latencies are milliseconds.

    Where two models have one name, both have what names them by it. Raises NotFound, NotVisibleYet, Unavailable and QueryLimit."""
    model = await MlModels(parts).get(tenant, id)
    watermark = await parts.freshness.raw(wait)
    # Behind the wait, so that what was waited for is not after the end.
    to_us = parts.clock.now_us()
    from_us = to_us - _LENGTHS_US[period]
    reader = ModelStatisticsReader(parts.rows, parts.settings.ingest.max_future_s * _S)
    found = await reader.figures(tenant, model.id, model.name, from_us, to_us)
    return watermark, {
        "total_requests": found.requests,
        "success_rate": (found.requests - found.failures) / found.requests if found.requests else None,
        "avg_latency_ms": found.mean_ms,
        "p50_latency_ms": found.median_ms,
        "p99_latency_ms": found.p99_ms,
        "total_tokens": found.tokens,
        "error_breakdown": most_frequent(found.reasons),
        "period": period,
        "from": instant(from_us),
        "to": instant(to_us),
    }


def most_frequent(reasons: Mapping[str, int]) -> dict[str, int]:
    """The reasons that are named most often, the most frequent first, and the others together as `other`."""
    ranked = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    shown = dict(ranked[:MOST_REASONS])
    rest = sum(count for _, count in ranked[MOST_REASONS:])
    if rest:
        shown["other"] = shown.get("other", 0) + rest
    return shown

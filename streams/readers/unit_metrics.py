"""Metrics that the totals per unit do not suffice for, computed from the rows."""

from collections.abc import Sequence
from typing import Any

from infra.runtime.clickhouse import ClickHouse
from schemas.definitions import Metric
from schemas.unit_metric_sql import parameters, statement

_SETTINGS = {"max_threads": 1, "max_memory_usage": 1_500_000_000, "max_bytes_before_external_group_by": 500_000_000}


async def by_variant(
    clickhouse: ClickHouse, metric: Metric, tenant: str, experiment: str, span: tuple[int, int] | None, *, timeout: float
) -> Sequence[dict[str, Any]]:
    """One row per variant, as `schemas.unit_metric_sql.statement` describes. Costs what the experiment's rows in the span cost. Raises ClickHouseError."""
    return await clickhouse.query(statement(metric), parameters(metric, tenant, experiment, span), settings=_SETTINGS, timeout=timeout)

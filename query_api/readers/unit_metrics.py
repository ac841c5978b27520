"""Metrics computed from the stored rows on request, by the definition that the agents compute with."""

from collections.abc import Mapping, Sequence
from typing import Any

from query_api.readers.rows import Rows
from schemas.definition_kinds import Metric
from schemas.unit_metric_sql import parameters, statement


async def metric_by_variant(rows: Rows, metric: Metric, tenant: str, experiment: str, span: tuple[int, int] | None) -> Sequence[Mapping[str, Any]]:
    """One row per variant, as `schemas.unit_metric_sql.statement` describes, over a span of event time (microseconds, end exclusive) or all of it.

    Costs what the experiment's rows in the span cost. Raises Unavailable, and QueryLimit beyond the limits of the read-only user."""
    return await rows.query(statement(metric), parameters(metric, tenant, experiment, span))

"""Metrics computed from the stored rows on request, by the definition that the agents compute with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from query_api.readers.rows import Rows, integer
from schemas.definition_kinds import Metric
from schemas.unit_metric_sql import parameters, segment_parameters, segments_statement, statement

Span = tuple[int, int] | None
"""A range of event time (microseconds, end exclusive), or all of it."""


async def metric_by_variant(rows: Rows, metric: Metric, tenant: str, experiment: str, span: Span) -> Sequence[Mapping[str, Any]]:
    """One row per variant, as `schemas.unit_metric_sql.statement` describes.

    Costs what the experiment's rows in the span cost. Raises Unavailable, and QueryLimit beyond the limits of the read-only user."""
    return await rows.query(statement(metric), parameters(metric, tenant, experiment, span))


@dataclass(frozen=True)
class Segments:
    """The largest parts of an experiment's units."""

    units: Mapping[str, Mapping[str, int]]
    """By segment, the largest first, and by variant; '' is for units that saw several."""
    omitted: int
    """How many smaller segments there are."""


async def largest_segments(rows: Rows, tenant: str, experiment: str, span: Span, segment: str, most: int) -> Segments:
    """At most so many segments. Costs and raises the same."""
    found = await rows.query(segments_statement(segment), segment_parameters(tenant, experiment, span, segment, most))
    units = {str(row["segment"]): {str(variant): integer(count) for variant, count in row["arms"]} for row in found}
    return Segments(units, integer(found[0]["segments"]) - len(found) if found else 0)


async def metric_by_segment(
    rows: Rows, metric: Metric, tenant: str, experiment: str, span: Span, segment: str, segments: Sequence[str]
) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """By segment, of those named, the rows of `metric_by_variant`. Costs and raises the same."""
    found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in segments}
    for row in await rows.query(statement(metric, segment), parameters(metric, tenant, experiment, span, segment, segments)):
        found[str(row["segment"])].append(row)
    return found

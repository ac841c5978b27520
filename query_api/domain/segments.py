"""Results of an experiment by part of its units, computed from the stored events on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from query_api.domain.result_figures import MetricFigures, metric_results, segment_corrections
from query_api.readers.rows import Rows
from query_api.readers.unit_metrics import largest_segments, metric_by_segment
from schemas.definition_kinds import Experiment, Metric
from schemas.fields import span_of
from schemas.metric_arms import arms_from_rows

MAX_SEGMENTS: Final = 20
"""Segments that are shown, those with the most units."""


async def results_by_segment(rows: Rows, experiment: Experiment, metrics: Sequence[Metric], by: str, *, bayesian: bool) -> dict[str, Any]:
    """Every metric in each of the largest segments; `by` has the form of `schemas.unit_metric_sql.SEGMENT_FORM`. P-values are corrected over all of the
    segments together. Costs a read of the experiment's events for each metric. Raises Unavailable and QueryLimit."""
    tenant, span = experiment.tenant, span_of(experiment.starts_at, experiment.ends_at)
    largest = await largest_segments(rows, tenant, experiment.id, span, by, MAX_SEGMENTS)
    names = [variant.name for variant in experiment.variants]
    segments: dict[str, list[MetricFigures]] = {name: [] for name in largest.units}
    for metric in metrics if names else ():
        found = await metric_by_segment(rows, metric, tenant, experiment.id, span, by, list(segments))
        for segment, figures in segments.items():
            arms = arms_from_rows(metric, found[segment], names)
            by_variant = {name: arms.figures(experiment.control, name, experiment.alpha) for name in names}
            figures.append(MetricFigures(metric, experiment.control, by_variant))
    corrected = segment_corrections(segments, experiment.correction)
    return {
        "by": by,
        "values": [
            {
                "value": segment,
                "sample_size": {name: units.get(name, 0) for name in names},
                "excluded_units": _excluded(units, names),
                "metrics": [metric_results(each, corrected[segment], bayesian=bayesian) for each in segments[segment]],
            }
            for segment, units in largest.units.items()
        ],
        "omitted": largest.omitted,
    }


def _excluded(units: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    return {
        "several_variants": units.get("", 0),
        "unplanned_variant": sum(count for name, count in units.items() if name not in ("", *names)),
    }

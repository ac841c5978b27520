"""Replay: what an experiment would have shown under another definition of a metric, from the stored events. Nothing stored changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from query_api.domain.change import missing, wrong_field
from query_api.domain.result_figures import MetricFigures, corrections, metric_results, reasons_in
from query_api.domain.stored import StoredDefinitions
from query_api.readers.rows import Rows
from query_api.readers.unit_metrics import metric_by_variant
from schemas.definition_kinds import Experiment, Metric
from schemas.fields import span_of
from schemas.metric_arms import arms_from_rows


class Replay:
    """Recomputes metrics of experiments of one tenant."""

    def __init__(self, stored: StoredDefinitions, rows: Rows, tenant: str) -> None:
        self._stored = stored
        self._rows = rows
        self._tenant = tenant

    async def compute(self, name: str, definition: Mapping[str, Any], start: datetime | None, end: datetime | None) -> dict[str, Any]:
        """The experiment under `definition` over a range of event time, the experiment's own where it is left out, beside the metric as it is defined
        over the same range.

        `definition` has the fields of a metric. With the `id` or else the `name` of a metric of the experiment, what it leaves out is that
        metric's, which is the original; otherwise there is none. Raises NotFound, ValidationFailed, and what the reader raises.
        """
        found = await self._stored.get(Experiment, self._tenant, name)
        if found is None:
            raise missing("experiment", name)
        experiment = found.definition
        if len(experiment.variants) < 2:
            raise wrong_field("variants: the experiment defines none; define them to compare them")
        start, end = start or experiment.starts_at, end or experiment.ends_at
        if start is not None and end is not None and end <= start:
            raise wrong_field("end: must be after start")
        original = await self._original(experiment, definition)
        replayed = _defined(self._tenant, original, definition)
        span = span_of(start, end)
        after, before = await asyncio.gather(self._figures(experiment, replayed, span), self._figures(experiment, original, span))
        changes = {} if original is None else _changes(original, replayed)
        answer: dict[str, Any] = {"experiment_id": name, "start": start, "end": end, "alpha": experiment.alpha, "changes": changes}
        answer |= {"original": before, "replayed": after, "differences": _differences(before, after)}
        return {**answer, "reasons": reasons_in(answer)}

    async def _original(self, experiment: Experiment, definition: Mapping[str, Any]) -> Metric | None:
        metrics = [found.definition for found in [await self._stored.get(Metric, self._tenant, each) for each in experiment.metrics] if found]
        if definition.get("id"):
            named = next((metric for metric in metrics if metric.id == definition["id"]), None)
            if named is None:
                raise wrong_field(f"metric.id: the experiment has no metric {definition['id']!r}; leave the id out to try a new one")
            return named
        return next((metric for metric in metrics if metric.name == definition.get("name")), None)

    async def _figures(self, experiment: Experiment, metric: Metric | None, span: tuple[int, int]) -> dict[str, Any] | None:
        if metric is None:
            return None
        names = [variant.name for variant in experiment.variants]
        arms = arms_from_rows(metric, await metric_by_variant(self._rows, metric, self._tenant, experiment.id, span), names)
        figures = {name: arms.figures(experiment.control, name, experiment.alpha) for name in names}
        shown = MetricFigures(metric, experiment.control, figures)
        return metric_results(shown, corrections([shown], "none"), bayesian=False)


def _defined(tenant: str, original: Metric | None, definition: Mapping[str, Any]) -> Metric:
    values: dict[str, Any] = msgspec.to_builtins(original) if original else {"tenant": tenant, "id": "replayed", "name": "replayed"}
    values |= definition
    if not values.get("event_type"):
        raise wrong_field("metric.event_name: is missing; name the events, or a metric of the experiment by its id")
    if values.get("type", "proportion") != "ratio" and "denominator_event_type" not in definition:
        values["denominator_event_type"] = ""
    try:
        return msgspec.convert(values, Metric)
    except (msgspec.ValidationError, ValueError) as error:
        raise wrong_field(f"metric: {error}") from error


def _changes(before: Metric, after: Metric) -> dict[str, dict[str, Any]]:
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return {name: {"before": old[name], "after": new[name]} for name in new if old[name] != new[name]}


def _differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What moved, for each comparison: replayed minus original, in the units of the results."""
    if before is None or after is None:
        return []
    originals = {each["variant"]: each for each in before["comparisons"]}
    found = []
    for each in after["comparisons"]:
        old = originals[each["variant"]]
        found.append(
            {
                "variant": each["variant"],
                "difference": _minus(each["difference"], old["difference"]),
                "improvement": _minus(each["improvement"], old["improvement"]),
                "standard_error": _minus(each["standard_error"], old["standard_error"]),
                "confidence": _minus(each["confidence"], old["confidence"]),
                "significance_changed": each["is_significant"] != old["is_significant"],
            }
        )
    return found


def _minus(new: float | None, old: float | None) -> float | None:
    return None if new is None or old is None else new - old

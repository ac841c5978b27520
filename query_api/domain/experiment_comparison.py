"""Two experiments on the same dataset side by side: what differs, example by example, and whether that is more than chance."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.control.datasets import DatasetStore, Example
from query_api.control.llm_experiments import Experiment
from query_api.control.llm_runs import Evaluation, Run, RunStore
from query_api.domain.llm_experiments import LlmExperiments
from query_api.domain.llm_ids import first_in
from query_api.parts import Parts
from query_api.surfaces.policy import Page
from schemas.global_id import global_id
from schemas.paired import REASONS, PairedReading, compare_pairs


class ExperimentComparison:
    """Compares the experiments of tenants. The baseline is what the other experiment is measured against."""

    def __init__(self, parts: Parts) -> None:
        self._experiments = LlmExperiments(parts)
        self._datasets = DatasetStore(parts.control.engine, parts.clock)
        self._runs = RunStore(parts.control.engine)

    async def compare(self, tenant: str, experiment: str, baseline: str, evaluation: str, alpha: float) -> dict[str, Any]:
        """The paired difference of one evaluation's scores, over the examples that both experiments scored. An example counts once, with the mean
        of its repetitions; one whose content changed between the two versions is left out.

        Raises NotFound when neither has a score of this name, and ValidationFailed for experiments on different datasets.
        """
        mine, base = await self._pair(tenant, experiment, baseline)
        scores, base_scores = await self._runs.scores(mine.number, evaluation), await self._runs.scores(base.number, evaluation)
        if not (scores or base_scores):
            known = sorted({*await self._runs.names(mine.number), *await self._runs.names(base.number)})
            raise NotFound(f"neither experiment has a score named {evaluation!r}; there are {', '.join(known) or 'none'}")
        changed = await self._changed(mine, base)
        shared = sorted((scores.keys() & base_scores.keys()) - changed)
        found = compare_pairs([scores[each] - base_scores[each] for each in shared], alpha)
        return {
            "experiment_id": global_id("Experiment", mine.number),
            "baseline_id": global_id("Experiment", base.number),
            "evaluation": evaluation,
            "examples": {
                "compared": found.pairs,
                "changed": len(scores.keys() & base_scores.keys() & changed),
                "experiment_only": len(scores.keys() - base_scores.keys()),
                "baseline_only": len(base_scores.keys() - scores.keys()),
            },
            "experiment_mean": _mean([scores[each] for each in shared]),
            "baseline_mean": _mean([base_scores[each] for each in shared]),
            "difference": found.difference,
            "standard_error": found.standard_error,
            "wins": found.wins,
            "losses": found.losses,
            "ties": found.ties,
            "alpha": alpha,
            "fixed": _reading(found.fixed),
            "anytime": _reading(found.anytime),
            "significant": found.significant,
        }

    async def diff(self, tenant: str, experiment: str, baseline: str, *, limit: int, cursor: str | None) -> Page:
        """One page of the examples that either experiment ran, with the runs of both. Raises NotFound and ValidationFailed."""
        mine, base = await self._pair(tenant, experiment, baseline)
        numbers = await self._runs.examples((mine.number, base.number), first=first_in(cursor, "DatasetExample"), limit=limit + 1)
        following = global_id("DatasetExample", numbers[limit]) if len(numbers) > limit else None
        shown = numbers[:limit]
        held = {each.number: each for each in await self._datasets.examples(mine.dataset, mine.version, numbers=shown)}
        before = held
        if base.version != mine.version:
            before = {each.number: each for each in await self._datasets.examples(base.dataset, base.version, numbers=shown)}
        sides = [await self._side(each.number, shown) for each in (mine, base)]
        return Page([_difference(held.get(each), before.get(each), *(side.get(each, []) for side in sides)) for each in shown], following)

    async def _pair(self, tenant: str, experiment: str, baseline: str) -> tuple[Experiment, Experiment]:
        mine, base = await self._experiments.get(tenant, experiment), await self._experiments.get(tenant, baseline)
        if mine.dataset != base.dataset:
            raise ValidationFailed("baseline: it ran on another dataset; only experiments on the same one can be compared")
        return mine, base

    async def _changed(self, mine: Experiment, base: Experiment) -> set[int]:
        if mine.version == base.version:
            return set()
        now, then = await self._datasets.revisions(mine.dataset, mine.version), await self._datasets.revisions(base.dataset, base.version)
        return {each for each in now.keys() & then.keys() if now[each] != then[each]}

    async def _side(self, experiment: int, examples: Collection[int]) -> Mapping[int, list[dict[str, Any]]]:
        """What an experiment made of some examples."""
        evaluations = await self._runs.evaluations(experiment, examples=examples)
        found: dict[int, list[dict[str, Any]]] = {}
        for run in await self._runs.every(experiment, examples=examples):
            found.setdefault(run.example, []).append(_run(run, evaluations.get(run.number, ())))
        return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _reading(reading: PairedReading) -> dict[str, Any]:
    return {**asdict(reading), "meaning": REASONS[reading.reason] if reading.reason else None}


def _run(run: Run, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    return {
        "id": global_id("ExperimentRun", run.number),
        "repetition_number": run.repetition,
        "output": orjson.Fragment(run.output),
        "error": run.error,
        "latency_ms": run.latency_ms,
        "trace_id": run.trace_id,
        "evaluations": {each.name: {"score": each.score, "label": each.label, "explanation": each.explanation, "error": each.error} for each in evaluations},
    }


def _difference(held: Example | None, before: Example | None, runs: Sequence[Mapping[str, Any]], base_runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    example = held or before
    assert example is not None, "a run is on an example that one of the two versions holds"
    mine, base = _scores(runs), _scores(base_runs)
    return {
        "example_id": global_id("DatasetExample", example.number),
        "id": example.external_id or global_id("DatasetExample", example.number),
        "changed": held is not None and before is not None and held.version != before.version,
        "input": orjson.Fragment(example.input),
        "reference_output": orjson.Fragment(example.output),
        "metadata": orjson.Fragment(example.meta),
        "experiment": list(runs),
        "baseline": list(base_runs),
        "differences": {name: mine[name] - base[name] for name in sorted(mine.keys() & base.keys())},
    }


def _scores(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean score of each evaluation over the repetitions."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for name, evaluation in run["evaluations"].items():
            if evaluation["score"] is not None:
                found.setdefault(name, []).append(evaluation["score"])
    return {name: sum(scores) / len(scores) for name, scores in found.items()}

"""The runs of experiments and their evaluations: stored, listed, completed and downloaded."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from infra.runtime.errors import InvalidArgument, NotFound, QueryLimit, Unavailable, ValidationFailed
from query_api.control.datasets import DatasetStore, Example
from query_api.control.llm_experiments import Experiment
from query_api.control.llm_runs import Evaluation, NewEvaluation, NewRun, Run, RunStore
from query_api.domain.dataset_exports import table
from query_api.domain.dataset_upload import plain
from query_api.domain.json_text import json_text
from query_api.domain.llm_experiments import LlmExperiments
from query_api.domain.llm_ids import first_in, number_in
from query_api.parts import Parts
from query_api.readers.span_traces import SpanTraces, Tokens
from query_api.surfaces.policy import Page
from schemas.fields import to_us
from schemas.global_id import global_id
from schemas.windows import to_iso

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LlmRuns:
    """The runs of the experiments of tenants."""

    def __init__(self, parts: Parts) -> None:
        self._experiments = LlmExperiments(parts)
        self._examples = DatasetStore(parts.control.engine, parts.clock)
        self._store = RunStore(parts.control.engine)
        self._traces = SpanTraces(parts.rows)

    async def add(self, tenant: str, experiment: str, values: Mapping[str, Any]) -> str:
        """Stores a run and returns its id; a failed one of the same example and repetition is replaced. Raises Conflict when there is a successful
        one, NotFound and ValidationFailed."""
        found = await self._experiments.get(tenant, experiment)
        if values["repetition_number"] > found.repetitions:
            raise ValidationFailed(f"repetition_number: the experiment has {found.repetitions} repetitions")
        run = NewRun(
            example=number_in(values["dataset_example_id"], "DatasetExample"),
            repetition=values["repetition_number"],
            output=json_text(values["output"], "output"),
            error=_plain(values["error"], "error"),
            trace_id=_plain(values["trace_id"], "trace_id"),
            start_us=_us(values["start_time"]),
            end_us=_us(values["end_time"]),
        )
        return global_id("ExperimentRun", await self._store.add(found.number, run))

    async def evaluate(self, tenant: str, values: Mapping[str, Any]) -> str:
        """Stores an evaluation in place of the run's one of the same name and returns its id. Raises NotFound and ValidationFailed."""
        result = values["result"] or {}
        evaluation = NewEvaluation(
            name=plain(values["name"], "name"),
            annotator_kind=values["annotator_kind"],
            label=_plain(result.get("label"), "label"),
            score=result.get("score"),
            explanation=_plain(result.get("explanation"), "explanation"),
            error=_plain(values["error"], "error"),
            meta=json_text(values["metadata"] or {}, "metadata"),
            trace_id=_plain(values["trace_id"], "trace_id"),
            start_us=_us(values["start_time"]),
            end_us=_us(values["end_time"]),
        )
        number = await self._store.evaluate(tenant, number_in(values["experiment_run_id"], "ExperimentRun"), evaluation)
        return global_id("ExperimentEvaluation", number)

    async def page(self, tenant: str, experiment: str, *, limit: int | None, cursor: str | None) -> Page:
        """One page, the newest run first; all of them without a limit. Raises NotFound and ValidationFailed."""
        found = await self._experiments.get(tenant, experiment)
        runs = await self._store.page(found.number, first=first_in(cursor, "ExperimentRun"), limit=None if limit is None else limit + 1)
        following = global_id("ExperimentRun", runs[limit].number) if limit is not None and len(runs) > limit else None
        return Page([run_json(each) for each in runs[:limit]], following)

    async def unjudged(self, tenant: str, experiment: str, names: Sequence[str], *, limit: int, cursor: str | None) -> Page:
        """Successful runs that lack a successful evaluation of one of these names, by run. Raises InvalidArgument without a name, NotFound and
        ValidationFailed."""
        found = await self._experiments.get(tenant, experiment)
        wanted = {plain(name.strip(), "evaluation_name") for name in names if name.strip()}
        if not wanted:
            raise InvalidArgument("At least one evaluation_name must be provided")
        runs = await self._store.unjudged(found.number, wanted, first=first_in(cursor, "ExperimentRun"), limit=limit + 1)
        following = global_id("ExperimentRun", runs[limit][0].number) if len(runs) > limit else None
        shown = await self._experiments.examples(found, sorted({run.example for run, _ in runs[:limit]}))
        items = [{"experiment_run": run_json(run), "dataset_example": shown[run.example], "evaluation_names": missing} for run, missing in runs[:limit]]
        return Page(items, following)

    async def as_json(self, tenant: str, experiment: str) -> tuple[Experiment, bytes]:
        """Every run with its example and evaluations, as a JSON array. Raises NotFound when there is none."""
        found, records = await self._records(tenant, experiment)
        return found, await asyncio.to_thread(orjson.dumps, records, option=orjson.OPT_INDENT_2)

    async def as_csv(self, tenant: str, experiment: str) -> tuple[Experiment, bytes]:
        """The same with one line per run; columns `annotation_<name>_*` for each evaluation. Raises NotFound when there is none."""
        found, records = await self._records(tenant, experiment)
        return found, await asyncio.to_thread(lambda: table([_flat(each) for each in records], ("example_id", "repetition_number")))

    async def _records(self, tenant: str, experiment: str) -> tuple[Experiment, list[dict[str, Any]]]:
        found = await self._experiments.get(tenant, experiment)
        runs = await self._store.every(found.number)
        if not runs:
            raise NotFound("Experiment has no runs")
        evaluations = await self._store.evaluations(found.number)
        examples = {each.number: each for each in await self._examples.examples(found.dataset, found.version)}
        try:
            tokens = await self._traces.tokens(tenant, found.project_name)
        except (Unavailable, QueryLimit):
            tokens = {}  # the traces stand elsewhere; what was run is known without them
        return found, [_record(run, examples[run.example], tokens.get(run.trace_id or ""), evaluations.get(run.number, ())) for run in runs]


def _plain(text: str | None, what: str) -> str | None:
    return None if text is None else plain(text, what)


def _us(time: datetime) -> int:
    return to_us(time if time.tzinfo else time.replace(tzinfo=UTC))


def offset_iso(time_us: int) -> str:
    """ISO 8601 with `+00:00`, which `datetime.fromisoformat` reads in every Python."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat()


def run_json(run: Run) -> dict[str, Any]:
    """As the surface shows a run."""
    return {
        "id": global_id("ExperimentRun", run.number),
        "experiment_id": global_id("Experiment", run.experiment),
        "dataset_example_id": global_id("DatasetExample", run.example),
        "repetition_number": run.repetition,
        "output": orjson.Fragment(run.output),
        "error": run.error,
        "trace_id": run.trace_id,
        "start_time": to_iso(run.start_us),
        "end_time": to_iso(run.end_us),
    }


def _record(run: Run, example: Example, tokens: Tokens | None, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    return {
        "example_id": global_id("DatasetExample", run.example),
        "repetition_number": run.repetition,
        "input": orjson.loads(example.input),
        "reference_output": orjson.loads(example.output),
        "output": orjson.loads(run.output),
        "metadata": orjson.loads(example.meta),
        "error": run.error,
        "latency_ms": run.latency_ms,
        "start_time": offset_iso(run.start_us),
        "end_time": offset_iso(run.end_us),
        "trace_id": run.trace_id,
        "prompt_token_count": tokens.prompt if tokens else None,
        "completion_token_count": tokens.completion if tokens else None,
        "annotations": [_annotation(each) for each in evaluations],
    }


def _annotation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "name": evaluation.name,
        "annotator_kind": evaluation.annotator_kind,
        "label": evaluation.label,
        "score": evaluation.score,
        "explanation": evaluation.explanation,
        "trace_id": evaluation.trace_id,
        "error": evaluation.error,
        "metadata": orjson.loads(evaluation.meta),
        "start_time": offset_iso(evaluation.start_us),
        "end_time": offset_iso(evaluation.end_us),
    }


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in record.items() if name != "annotations"}
    for each in record["annotations"]:
        flat |= {f"annotation_{each['name']}_{field}": value for field, value in each.items() if field != "name"}
    return flat

"""`experiments/{id}/replay`: the same experiment under another definition of a metric."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.dependencies import SharedParts, Waits
from query_api.domain.replay import Replay
from query_api.errors import error_responses
from query_api.surfaces.bodies import Body, Instant
from query_api.surfaces.experimentation.answers import READ_ERRORS, Nothing, instant
from query_api.surfaces.experimentation.experiment_bodies import MetricBody
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.experimentation.result_models import MetricResult
from query_api.surfaces.experimentation.results import ExperimentId, ResultsReader
from query_api.surfaces.policy import json_response

router = APIRouter(tags=["results"])

_INSIDE = {"event_name": "event_type", "denominator_event_name": "denominator_event_type"}


class ReplayBody(Body):
    """What to try."""

    metric: MetricBody = Field(
        description="Named by `id` or else by `name`, a metric of the experiment is the original, and what is left out is as it has it; otherwise it is a new metric."
    )
    start: Instant | None = Field(None, description="Exposures and events from this time on; left out: from the experiment's start.")
    end: Instant | None = Field(None, description="Exposures and events before this time; left out: to its end.")

    def definition(self) -> dict[str, Any]:
        """The metric's fields by their names inside."""
        return {_INSIDE.get(name, name): value for name, value in self.metric.given().items() if name != "guardrail" and value is not None}


class Difference(BaseModel):
    """What moved for one variant: replayed minus original."""

    variant: str
    difference: float | None
    improvement: float | None = Field(description="Percentage points.")
    standard_error: float | None
    confidence: float | None = Field(description="Percentage points.")
    significance_changed: bool


class FieldChange(BaseModel):
    """A field that the replay defines otherwise."""

    before: Any
    after: Any


class Replayed(BaseModel):
    """Both results and what moved."""

    experiment_id: str
    start: datetime | None
    end: datetime | None
    alpha: float
    changes: dict[str, FieldChange]
    original: MetricResult | None
    replayed: MetricResult
    differences: list[Difference] = Field(description="Empty without an original.")
    reasons: dict[str, str]


class ReplayAnswer(BaseModel):
    """A replay."""

    data: Replayed
    meta: Nothing


@router.post(
    "/experiments/{experiment_id}/replay",
    response_model=ReplayAnswer,
    operation_id="replay_experiment",
    summary="Replay an experiment under another metric",
    responses=error_responses(EXPERIMENTATION, *READ_ERRORS, "invalid_argument", "not_found", "query_limit", "not_visible_yet"),
)
async def replay(parts: SharedParts, caller: ResultsReader, wait: Waits, experiment_id: ExperimentId, body: ReplayBody) -> Response:
    """Computed from the stored events; the experiment, its metrics and its results stay as they are. The original is computed over the same range, so that
    the two differ by the definition alone. P-values are not corrected for other metrics. Limited by the time and memory of the read-only user."""
    watermark = await parts.freshness.raw(wait)
    found = await Replay(parts.stored, parts.rows, caller.tenant).compute(experiment_id, body.definition(), body.start, body.end)
    data = {**found, "start": instant(found["start"]), "end": instant(found["end"])}
    return json_response({"data": data, "meta": {}}, watermark=watermark)

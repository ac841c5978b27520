"""`experiments/{id}/results`: what an experiment shows so far."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, Waits
from query_api.domain.results import Results, Series
from query_api.errors import error_responses
from query_api.surfaces.bodies import NAME_FORM
from query_api.surfaces.experimentation.answers import READ_ERRORS
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.experimentation.result_models import ResultsAnswer
from query_api.surfaces.policy import json_response
from query_api.surfaces.times import micros
from schemas.unit_metric_sql import SEGMENT_FORM
from schemas.windows import Grain

router = APIRouter(tags=["results"])

ExperimentId = Annotated[str, Path(pattern=NAME_FORM, description="Id of the experiment.", examples=["exp_8c1f0a9be2d34757"])]
ResultsReader = Annotated[Caller, Allowed("results:read")]

_GRAINS: Final = {"minute": Grain.MINUTE, "five_minutes": Grain.FIVE_MINUTES, "hour": Grain.HOUR, "day": Grain.DAY}
_EXAMPLE: Final[dict[str, Any]] = {
    "data": {
        "experiment_id": "exp_8c1f0a9be2d34757",
        "status": "ACTIVE",
        "sample_size": {"control": 5420, "treatment": 5380},
        "metrics": [
            {
                "id": "met_8c1f0a9be2d34757",
                "name": "conversion_rate",
                "type": "proportion",
                "unit": "percent",
                "use": "goal",
                "direction": "increase",
                "results": {
                    "control": {"value": 3.2, "confidence_interval": [2.5, 3.9], "fixed_confidence_interval": [2.8, 3.7], "reason": None, "units": 5420},
                    "treatment": {"value": 4.1, "confidence_interval": [3.3, 4.9], "fixed_confidence_interval": [3.6, 4.7], "reason": None, "units": 5380},
                    "improvement": 28.7,
                    "confidence": 82.6,
                    "is_significant": False,
                },
                "best_variant": "treatment",
                "comparisons": [],
                "adjustments": {},
            }
        ],
        "control": "control",
        "alpha": 0.05,
        "correction": "none",
        "exposures": {
            "control": {"units": 5420, "share": 50.2, "planned_share": 50.0},
            "treatment": {"units": 5380, "share": 49.8, "planned_share": 50.0},
        },
        "excluded_units": {"several_variants": 0, "unplanned_variant": 0},
        "sample_ratio": {"mismatch": False, "p_value": 1.0, "fixed_horizon_p_value": 0.7, "at_fault": None, "suspects": []},
        "reasons": {},
        "revision": 42,
        "computed_at": "2026-01-01T12:00:00.250000Z",
        "age_s": 0.4,
        "watermark": "events:0:118",
        "time_series": None,
        "segments": None,
    },
    "meta": {},
}


@router.get(
    "/experiments/{experiment_id}/results",
    response_model=ResultsAnswer,
    operation_id="get_experiment_results",
    summary="Get experiment results",
    responses={
        200: {"content": {"application/json": {"example": _EXAMPLE}}},
        **error_responses(EXPERIMENTATION, *READ_ERRORS, "invalid_argument", "not_found", "query_limit", "not_visible_yet"),
    },
)
async def results(
    parts: SharedParts,
    caller: ResultsReader,
    wait: Waits,
    experiment_id: ExperimentId,
    bayesian: Annotated[bool, Query(description="Also the chance to win, for each comparison.")] = False,
    segment: Annotated[
        str | None,
        Query(
            pattern=SEGMENT_FORM,
            description="Also by part of the units: `sdk`, `source`, or `metadata.` and a property of the metadata that the exposures carry.",
            examples=["sdk", "metadata.country"],
        ),
    ] = None,
    grain: Annotated[Literal["minute", "five_minutes", "hour", "day"] | None, Query(description="Also a time series of windows of this length.")] = None,
    points: Annotated[int, Query(ge=1, le=1_000, description="Most windows of the time series, the newest.")] = 168,
    start: Annotated[datetime | None, Query(description="Windows that start at or after this; UTC without an offset.")] = None,
    end: Annotated[datetime | None, Query(description="Windows that start before this.")] = None,
) -> Response:
    """Confidence and significance are those of an always-valid test: they may be looked at at any time, as often as one likes, and
    the chance that an experiment without effect is ever called significant stays at most `alpha`. The textbook reading stands beside it under
    `fixed_horizon`, for one look at a size decided in advance.

    With several variants, `improvement`, `confidence` and `is_significant` speak of `best_variant`; every variant has its own under `comparisons`.
    Proportions are in percent, their differences in percentage points. What cannot be said is null with a reason.

    With `segment` the same stands for each of the 20 largest parts of the units: a unit belongs where its first exposure says. This reads the stored
    events, once for each metric, and so takes longer; look at it as often as you like, the always-valid reading holds in every segment too.

    With `X-Millstream-Wait-For` the answer includes that write. To follow the results live, open the WebSocket `/platform/v1/live` and send
    `{"type": "subscribe", "kind": "significance", "subject": "<experiment id>", "grain": "all"}`: it sends the figures now and at every change.
    """
    series = None if grain is None else Series(_GRAINS[grain], points, micros(start), micros(end))
    reader = Results(parts.stored, parts.definitions, parts.rows, parts.latest, parts.freshness, parts.shown, parts.clock, caller.tenant)
    data, watermark = await reader.read(experiment_id, wait, bayesian=bayesian, series=series, segment=segment or "")
    return json_response({"data": data, "meta": {}}, watermark=watermark)

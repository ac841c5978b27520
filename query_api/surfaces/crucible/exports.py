"""`export`: an experiment, and experiments side by side, as files."""

from collections.abc import Collection
from typing import Annotated, Final, Literal

from fastapi import APIRouter
from pydantic import Field, StringConstraints
from starlette.responses import Response, StreamingResponse

from infra.runtime.errors import ValidationFailed
from query_api.dependencies import SharedParts, Waits
from query_api.domain.comparison_report import Format, Template, compare, rendered
from query_api.domain.dataset_exports import file_headers
from query_api.domain.experiment_export import Part, as_csv, as_json
from query_api.domain.ml_experiments import MlExperiments
from query_api.errors import error_responses
from query_api.surfaces.bodies import Body
from query_api.surfaces.crucible.answers import ONE_ERRORS
from query_api.surfaces.crucible.experiments import ExperimentId, Reader
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.policy import WATERMARK_HEADER
from query_api.surfaces.streamed import streamed
from schemas.position import encode

router = APIRouter(tags=["export"])

_FILES: Final[dict[Format, tuple[str, str]]] = {
    "json": ("application/json", "json"),
    "csv": ("text/csv", "csv"),
    "markdown": ("text/markdown", "md"),
    "latex": ("text/x-tex", "tex"),
}
"""Media type and end of the file's name by format."""
_MOST: Final = 20
_ERRORS: Final = (*ONE_ERRORS, "query_limit", "not_visible_yet")
_ALL_BUT_TELEMETRY: Final[tuple[Part, ...]] = ("config", "results", "runs")
_ELSEWHERE: Final[dict[Part, str]] = {
    "telemetry": "cannot be in a CSV file, which is the table of runs; leave `telemetry` out and take it from POST /telemetry/export, or choose the format json",
    "results": "cannot be in a CSV file, which is the table of runs; leave `results` out and take it from GET /experiments/{experiment_id}/statistical-results, "
    "or choose the format json",
}
"""Why a CSV file does not have them, and where they are."""


class ExportBody(Body):
    """What of an experiment is exported, and as which kind of file."""

    format: Literal["json", "csv"] = "json"
    include: list[Part] | None = Field(
        None,
        max_length=20,
        description="Left out, everything but telemetry for json, and for csv the runs, which it always has; `config` adds its settings to each of their lines.",
        examples=[["config", "results", "runs", "telemetry"]],
    )


class ComparisonBody(Body):
    """Which experiments to compare, and how the file looks."""

    experiment_ids: list[Annotated[str, StringConstraints(min_length=1, max_length=300)]] = Field(
        min_length=1, max_length=_MOST, description="In the order in which they are shown.", examples=[["exp_8c1f0a9be2d34757", "exp_02b96ad41f7e4c55"]]
    )
    format: Format
    template: Template = Field("plain", description="`publication` makes a LaTeX table that floats, with caption, label and booktabs; no other format changes.")


@router.post(
    "/experiments/{experiment_id}/export",
    response_class=StreamingResponse,
    operation_id="export_experiment",
    summary="Export an experiment",
    responses={
        200: {"description": "A file.", "content": {"application/json": {"schema": {"type": "object"}}, "text/csv": {"schema": {"type": "string"}}}},
        **error_responses(CRUCIBLE, *_ERRORS),
    },
)
async def experiment(parts: SharedParts, caller: Reader, wait: Waits, experiment_id: ExperimentId, body: ExportBody) -> Response:
    """JSON has `experiment` and, as far as they are included, `config`, `results` and `runs` as the surface shows them, both the newest first, and `telemetry`
    as its own export writes it, in the order of time. CSV has a line for each run and a column for each hyperparameter and metric that any run has.

    There is no limit of size; a file that could not be finished breaks off without the end of the transfer. Results need the permission `results:read` and
    telemetry `telemetry:read` as well."""
    include = _included(body)
    if "results" in include:
        caller.needs("results:read")
    if "telemetry" in include:
        caller.needs("telemetry:read")
    found = await MlExperiments(parts).get(caller.tenant, experiment_id)
    headers = {WATERMARK_HEADER: encode(await parts.freshness.raw(wait)), **file_headers(found.name, body.format)}
    media_type, _ = _FILES[body.format]
    return await streamed((as_json if body.format == "json" else as_csv)(parts, found, include), media_type, headers)


@router.post(
    "/export/comparison",
    response_class=Response,
    operation_id="export_comparison",
    summary="Export a comparison of experiments",
    responses={
        200: {
            "description": "A file.",
            "content": {media: {"schema": {"type": "object" if media.endswith("json") else "string"}} for media, _ in _FILES.values()},
        },
        **error_responses(CRUCIBLE, *_ERRORS),
    },
)
async def comparison(parts: SharedParts, caller: Reader, wait: Waits, body: ComparisonBody) -> Response:
    """One experiment a row: its name, status, times and tags, and the settings of the configs that are not the same in all. A setting inside others is
    named by all of them, joined by dots; a cell is empty where an experiment has no such setting.

    Then what its runs came to: how many there are, completed and failed, and of every metric that runs of at least two of the experiments have the mean over
    the last value of each run, with its 95% confidence interval by Student's t. JSON has `mean`, `interval` and `n`, tables `0.912 ± 0.013 (n=5)` with half the
    width of the interval; it is left out for a single run and where all values are the same. The newest 1,000 runs of an experiment count, and where it has
    more the file says how many did."""
    twice = sorted({id for id in body.experiment_ids if body.experiment_ids.count(id) > 1})
    if twice:
        messages = [f"{id} is named more than once; name each experiment once" for id in twice]
        raise ValidationFailed("; ".join(messages), details={"experiment_ids": messages})
    found, watermark = await compare(parts, caller.tenant, body.experiment_ids, wait)
    media_type, extension = _FILES[body.format]
    headers = {WATERMARK_HEADER: encode(watermark), **file_headers("experiment-comparison", extension)}
    return Response(rendered(found, body.format, body.template), headers=headers, media_type=media_type)


def _included(body: ExportBody) -> Collection[Part]:
    if body.format == "json":
        return _ALL_BUT_TELEMETRY if body.include is None else body.include
    include = body.include or ()
    messages = [f"{part} {_ELSEWHERE[part]}" for part in _ELSEWHERE if part in include]
    if messages:
        raise ValidationFailed("; ".join(messages), details={"include": messages})
    return include

"""`export`: experiments side by side, as a file."""

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field, StringConstraints
from starlette.responses import Response

from infra.runtime.errors import ValidationFailed
from query_api.dependencies import SharedParts, Waits
from query_api.domain.comparison_report import Format, Template, compare, rendered
from query_api.domain.dataset_exports import file_headers
from query_api.errors import error_responses
from query_api.surfaces.bodies import Body
from query_api.surfaces.crucible.answers import ONE_ERRORS
from query_api.surfaces.crucible.experiments import Reader
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.policy import WATERMARK_HEADER
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


class ComparisonBody(Body):
    """Which experiments to compare, and how the file looks."""

    experiment_ids: list[Annotated[str, StringConstraints(min_length=1, max_length=300)]] = Field(
        min_length=1, max_length=_MOST, description="In the order in which they are shown.", examples=[["exp_8c1f0a9be2d34757", "exp_02b96ad41f7e4c55"]]
    )
    format: Format
    template: Template = Field("plain", description="`publication` makes a LaTeX table that floats, with caption, label and booktabs; no other format changes.")


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

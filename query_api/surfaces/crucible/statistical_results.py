"""`statistical-results`: tests of an experiment's telemetry, run and read."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from infra.runtime.errors import ValidationFailed
from query_api.access import Caller
from query_api.control.statistical_results import StatisticalResultFilter
from query_api.dependencies import Allowed, SharedParts, Waits
from query_api.domain.statistical_results import AskedTest, StatisticalResults, result_json
from query_api.errors import error_responses
from query_api.readers.telemetry_values import Selection
from query_api.surfaces.bodies import Body, Instant
from query_api.surfaces.crucible.answers import ONE_ERRORS, READ_ERRORS, PageMeta, WantedPage, filters, one, page_of
from query_api.surfaces.crucible.bodies import Name
from query_api.surfaces.crucible.experiments import ExperimentId
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.times import micros
from schemas.effect_size import EffectSizeType, Magnitude
from schemas.findings import Significance
from schemas.group_tests import Alternative, TestType, Wanted

router = APIRouter(tags=["statistical results"])

Reader = Annotated[Caller, Allowed("results:read")]
Writer = Annotated[Caller, Allowed("experiments:write")]
ResultId = Annotated[str, Path(description="Id of the result.", examples=["stat_8c1f0a9be2d34757"], max_length=300)]
OfType = Annotated[TestType | None, Query(alias="filter[test_type]", description="Only results of this test.")]
OfExperiment = Annotated[str | None, Query(alias="filter[experiment_id]", description="Only results of this experiment.", max_length=300)]
Sort = Annotated[Literal["created_at", "-created_at"], Query(description="`created_at` for the oldest first.")]

_MEANS: Final = ("two_sample_t_test", "paired_t_test")
_ONLY_FOR: Final[dict[str, tuple[TestType, ...]]] = {"equal_variance": ("two_sample_t_test",), "effect_size": _MEANS, "pair_by": ("paired_t_test",)}
"""Options that not every test has."""


class Options(Body):
    """How to test, and which values."""

    alpha: float = Field(0.05, ge=1e-6, le=0.5, description="Level of the test; intervals are at 1 - alpha.")
    alternative: Alternative = Field("two_sided", description="`greater`: the first group is greater. Intervals have two sides all the same.")
    equal_variance: bool = Field(False, description="Student's t in place of Welch's; for `two_sample_t_test`.")
    effect_size: Literal["cohens_d", "hedges_g"] = Field("cohens_d", description="For the t tests. Other tests have an effect size of their own.")
    group_by: Name = Field("model", description="Field of the metadata whose values are the groups, such as `model`, `variant` or `run_id`; or `event_name`.")
    pair_by: Name | None = Field(
        None, description="For `paired_t_test`: field of the metadata that is the same for what belongs together; several events of a pair are their mean."
    )
    event_name: Name | None = Field(None, description="Only events of this name, its parts joined by dots.", examples=["crucible.model.inference"])
    after: Instant | None = Field(None, description="Only events after this.")
    before: Instant | None = Field(None, description="Only events before this.")


class NewTest(Body):
    """Which test of what."""

    experiment_id: Annotated[Name, Field(max_length=64)] = Field(examples=["exp_8c1f0a9be2d34757"])
    test_type: TestType = Field(
        description="`two_sample_t_test` is Welch's unless the options say otherwise; `one_way_anova` takes equal variances for granted; "
        "`two_proportion_z_test` is for a metric that is 0 or 1."
    )
    groups: list[Name] = Field(min_length=2, max_length=50, description="Two, or for `one_way_anova` at least two.", examples=[["model_a", "model_b"]])
    metric: Name = Field(description="Name of the measurement.", examples=["accuracy"])
    options: Options = Options()


class NewTestBody(Body):
    test: NewTest


class AlwaysValid(BaseModel):
    """What may be read at any number of looks; two-sided. The plain p-value is right for one look at a size decided before."""

    p_value: float | None
    interval: tuple[float, float] | None = Field(description="Of `mean_difference`.")
    reason: str | None = Field(description="Why one of them is null.")


class Interpretation(BaseModel):
    significance: Significance = Field(description="Whether `p_value` is at most `alpha`.")
    effect_magnitude: Magnitude = Field(description="By Cohen's bounds for this effect size, whatever its sign.")
    practical_significance: str = Field(description="A sentence that names the groups.")


class Result(BaseModel):
    """What a test came to when it was run. Lists are in the order of `groups`; differences are the first group minus the second."""

    id: str
    experiment_id: str
    test_type: TestType
    metric: str
    groups: list[str]
    statistic: float = Field(description="t, U of the first group, F or z.")
    degrees_of_freedom: float | tuple[int, int] | None = Field(description="Of F between and within groups; null for U and z.")
    p_value: float = Field(gt=0, le=1)
    alpha: float
    alternative: Alternative
    effect_size: float
    effect_size_type: EffectSizeType = Field(
        description="`cohens_d` and `hedges_g` are in standard deviations: pooled, or of the differences of pairs. `rank_biserial` is the chance of a "
        "higher value minus that of a lower one, `eta_squared` the share of the variance that lies between groups, `cohens_h` the distance of two shares."
    )
    confidence_interval: tuple[float, float] = Field(description="Of `effect_size`, at 1 - alpha, with two sides.")
    mean_difference: float | None = Field(description="Of shares for `two_proportion_z_test`; null for ranks and for the analysis of variance.")
    mean_difference_interval: tuple[float, float] | None
    always_valid: AlwaysValid | None = Field(description="Null for tests that have no such reading.")
    sample_sizes: list[int]
    means: list[float]
    std_devs: list[float]
    unpaired: tuple[int, int] | None = Field(description="Of `paired_t_test`: in each group, what had no other half and does not count.")
    interpretation: Interpretation
    options: dict[str, Any] = Field(description="With what the test was run.")
    as_of: str = Field(description="Position up to which telemetry was there, as `X-Millstream-Watermark` says it.")
    created_at: AwareDatetime


class One(BaseModel):
    data: Result


class Several(BaseModel):
    data: list[Result]
    meta: PageMeta


_EXAMPLE: Final[dict[str, Any]] = {
    "id": "stat_8c1f0a9be2d34757",
    "experiment_id": "exp_8c1f0a9be2d34757",
    "test_type": "two_sample_t_test",
    "metric": "accuracy",
    "groups": ["model_a", "model_b"],
    "statistic": 7.42,
    "degrees_of_freedom": 166.1,
    "p_value": 5.8e-12,
    "alpha": 0.05,
    "alternative": "two_sided",
    "effect_size": 1.05,
    "effect_size_type": "cohens_d",
    "confidence_interval": [0.75, 1.34],
    "mean_difference": 0.07,
    "mean_difference_interval": [0.051, 0.089],
    "always_valid": {"p_value": 1.1e-5, "interval": [0.036, 0.104], "reason": None},
    "sample_sizes": [100, 100],
    "means": [0.89, 0.82],
    "std_devs": [0.05, 0.08],
    "unpaired": None,
    "interpretation": {
        "significance": "significant",
        "effect_magnitude": "large",
        "practical_significance": "The mean of accuracy is higher for model_a (0.89) than for model_b (0.82): p = 5.8e-12 is at most 0.05, "
        "and the difference seen is large.",
    },
    "options": {"alpha": 0.05, "alternative": "two_sided", "group_by": "model"},
    "as_of": "telemetry:0:41",
    "created_at": "2026-01-15T10:00:00Z",
}
_META: Final = {"total": 1, "page": 1, "per_page": 25, "next_cursor": None, "has_more": False}
_RUN_ERRORS: Final = (*ONE_ERRORS, "query_limit", "not_visible_yet")


def _responses(*errors: str, example: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    return {status: {"content": {"application/json": {"example": example}}}, **error_responses(CRUCIBLE, *errors)}


@router.get(
    "/statistical-results",
    response_model=Several,
    operation_id="list_statistical_results",
    summary="List statistical results",
    responses=_responses(*READ_ERRORS, example={"data": [_EXAMPLE], "meta": _META}),
    dependencies=[Depends(filters("experiment_id", "test_type"))],
)
async def list_(
    parts: SharedParts, caller: Reader, page: WantedPage, experiment_id: OfExperiment = None, test_type: OfType = None, sort: Sort = "-created_at"
) -> Response:
    """The newest first."""
    wanted = StatisticalResultFilter(experiment_id, test_type)
    return page_of(await StatisticalResults(parts).page(caller.tenant, wanted, sort.startswith("-"), page))


@router.get(
    "/experiments/{experiment_id}/statistical-results",
    response_model=Several,
    operation_id="list_experiment_statistical_results",
    summary="List statistical results of an experiment",
    responses=_responses(*ONE_ERRORS, example={"data": [_EXAMPLE], "meta": _META}),
    dependencies=[Depends(filters("test_type"))],
)
async def list_of_experiment(
    parts: SharedParts, caller: Reader, page: WantedPage, experiment_id: ExperimentId, test_type: OfType = None, sort: Sort = "-created_at"
) -> Response:
    """The newest first. Those of a deleted experiment stay."""
    return page_of(await StatisticalResults(parts).page_of(caller.tenant, experiment_id, test_type, sort.startswith("-"), page))


@router.get(
    "/statistical-results/{id}",
    response_model=One,
    operation_id="get_statistical_result",
    summary="Get a statistical result",
    responses=_responses(*ONE_ERRORS, example={"data": _EXAMPLE}),
)
async def get(parts: SharedParts, caller: Reader, id: ResultId) -> Response:
    """As it was when the test was run: events that came later change nothing."""
    return one(result_json(await StatisticalResults(parts).get(caller.tenant, id)))


@router.post(
    "/statistical-results",
    response_model=One,
    status_code=201,
    operation_id="run_statistical_test",
    summary="Run a statistical test",
    responses=_responses(*_RUN_ERRORS, example={"data": _EXAMPLE}, status=201),
)
async def run(parts: SharedParts, caller: Writer, wait: Waits, body: NewTestBody) -> Response:
    """Over the values of a measurement in the telemetry of an experiment, by group; the result is stored. Events with the same id count once, quarantined
    ones do not. With `X-Millstream-Wait-For`, everything up to that position counts. At most 1,000,000 values."""
    result, as_of = await StatisticalResults(parts).run(caller, _asked(body.test), wait)
    return one(result_json(result), status=201, watermark=as_of)


def _asked(test: NewTest) -> AskedTest:
    options = test.options
    faults: dict[str, str] = {}
    if len(set(test.groups)) < len(test.groups):
        faults["groups"] = "names a group twice"
    elif len(test.groups) > 2 and test.test_type != "one_way_anova":
        faults["groups"] = f"{test.test_type} compares two groups; compare more with one_way_anova"
    for name in sorted(options.model_fields_set & _ONLY_FOR.keys()):
        if test.test_type not in _ONLY_FOR[name]:
            faults[f"options.{name}"] = f"is for {' and '.join(_ONLY_FOR[name])}; leave it out"
    if test.test_type == "paired_t_test" and options.pair_by is None:
        faults["options.pair_by"] = "paired_t_test needs the field of the metadata that is the same for what belongs together"
    if test.test_type == "one_way_anova" and options.alternative != "two_sided":
        faults["options.alternative"] = "one_way_anova has no direction; leave it out"
    if faults:
        sentences = (f"{field}: {message}" for field, message in faults.items())
        raise ValidationFailed("; ".join(sentences), details={field: [message] for field, message in faults.items()})
    selection = Selection(test.experiment_id, test.metric, options.group_by, options.event_name, micros(options.after), micros(options.before))
    how = Wanted(options.alpha, options.alternative, options.equal_variance, options.effect_size == "hedges_g")
    return AskedTest(test.test_type, test.groups, selection, how, options.pair_by, _shown(test))


def _shown(test: NewTest) -> dict[str, Any]:
    given = test.options.model_dump(mode="json", exclude_none=True)
    return {name: value for name, value in given.items() if test.test_type in _ONLY_FOR.get(name, (test.test_type,))}

"""What results look like in answers."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from query_api.surfaces.experimentation.answers import Nothing
from query_api.surfaces.experimentation.experiment_bodies import Status
from schemas.definition_kinds import Correction, Direction, MetricKind, MetricUse

Bounds = list[float]
Why = Field(None, description="Why something is null; in words under `reasons`.", examples=["too_few_units"])


class VariantResult(BaseModel):
    """One variant of one metric."""

    value: float | None = Field(description="Of a proportion in percent.", examples=[3.2])
    confidence_interval: Bounds | None = Field(description="Holds at every look; null below 100 units.", examples=[[2.6, 3.8]])
    fixed_confidence_interval: Bounds | None = Field(description="Right for one look at a size decided in advance.", examples=[[2.8, 3.6]])
    reason: str | None = Why
    units: int = Field(description="Units the value is of.", examples=[5420])
    unadjusted_value: float | None = Field(None, description="Before the pre-exposure covariate was taken out.")


class Reading(BaseModel):
    """One way to judge a difference."""

    p_value: float | None
    corrected_p_value: float | None = Field(description="After the experiment's `correction`.")
    interval: Bounds | None = Field(description="Of the difference.")
    relative_interval: Bounds | None = Field(description="Of the improvement, percent.")
    reason: str | None = Why
    relative_reason: str | None = Why


class Bayesian(BaseModel):
    """Flat prior, normal likelihood; for reading, not for stopping."""

    chance_to_win: float | None = Field(description="Percent.", examples=[98.9])
    expected_loss: float | None = Field(description="What choosing the variant costs on average if it is worse.")
    credible_interval: Bounds | None
    reason: str | None = Why


class Comparison(BaseModel):
    """A variant against control."""

    variant: str
    control: str
    difference: float | None = Field(description="Variant minus control; of proportions in percentage points.", examples=[0.9])
    improvement: float | None = Field(description="Relative difference, percent; null unless control is above 0.", examples=[28.1])
    standard_error: float | None = Field(description="Of the difference.")
    confidence: float | None = Field(description="100 * (1 - corrected always-valid p-value).", examples=[98.5])
    is_significant: bool = Field(description="Whether the corrected always-valid p-value is at most `alpha`.")
    always_valid: Reading
    fixed_horizon: Reading
    bayesian: Bayesian | None = None


class MetricResult(BaseModel):
    """One metric."""

    id: str
    name: str = Field(examples=["conversion_rate"])
    type: MetricKind
    unit: Literal["percent", "value"]
    use: MetricUse
    direction: Direction
    results: dict[str, VariantResult | float | bool | None] = Field(
        description="One entry for each variant by its name, and `improvement`, `confidence` and `is_significant` of the best variant that is not control."
    )
    best_variant: str | None = Field(description="The one that these three speak of: the best value in the metric's direction.")
    comparisons: list[Comparison]
    adjustments: dict[str, Any] = Field(description="What was done to the values: `quantile`, `winsorized_at`, `covariate`.")


class Exposure(BaseModel):
    """How many units saw a variant first."""

    units: int
    share: float | None = Field(description="Percent of all.")
    planned_share: float = Field(description="Percent.")


class Excluded(BaseModel):
    """Units that take no part, by reason."""

    several_variants: int = Field(description="Saw more than one variant.")
    unplanned_variant: int = Field(description="Saw a variant that the experiment does not have.")


class SuspectModel(BaseModel):
    """Part of the traffic whose split is off."""

    dimension: str = Field(examples=["sdk"])
    value: str
    counts: dict[str, int]
    sequential_p: float
    chi_square_p: float
    rest_p: float = Field(description="Of everything else in the dimension.")
    explains: bool = Field(description="Whether everything else is in proportion.")


class SampleRatioModel(BaseModel):
    """Whether units arrive in the planned proportions."""

    mismatch: bool = Field(description="Whether the results should not be trusted.")
    p_value: float = Field(description="Holds at every look.")
    fixed_horizon_p_value: float
    at_fault: SuspectModel | None = Field(description="The dimension and value that explain the mismatch alone.")
    suspects: list[SuspectModel]


class Point(BaseModel):
    """One window of the time series by itself: the units exposed in it, and their events in it."""

    window_start: datetime
    window_end: datetime | None
    metrics: dict[str, dict[str, dict[str, Any]]] = Field(description="By metric id and variant.")


class TimeSeries(BaseModel):
    """Windows in order."""

    grain: Literal["1m", "5m", "1h", "1d"]
    points: list[Point]


class Segment(BaseModel):
    """A part of the units by itself."""

    value: str = Field(description="What the first exposure of its units says; empty where it says nothing.", examples=["web-sdk/2.1"])
    sample_size: dict[str, int] = Field(description="Units by variant.")
    excluded_units: Excluded
    metrics: list[MetricResult]


class SegmentsModel(BaseModel):
    """The largest segments, largest first. P-values are corrected over all of them together."""

    by: str = Field(examples=["sdk"])
    values: list[Segment]
    omitted: int = Field(description="How many smaller segments there are.")


class ResultsModel(BaseModel):
    """The results of an experiment."""

    experiment_id: str
    status: Status
    sample_size: dict[str, int] = Field(description="Units by variant.", examples=[{"control": 5420, "treatment": 5380}])
    metrics: list[MetricResult]
    control: str | None
    alpha: float
    correction: Correction
    exposures: dict[str, Exposure]
    excluded_units: Excluded
    sample_ratio: SampleRatioModel | None
    reasons: dict[str, str] = Field(description="Words for every reason named in the answer.")
    revision: int = Field(description="Rises whenever figures change.")
    computed_at: datetime | None = Field(description="When figures changed last.")
    age_s: float | None = Field(description="Seconds since then.")
    watermark: str = Field(description="Everything up to these positions is stored.", examples=["events:0:118"])
    time_series: TimeSeries | None
    segments: SegmentsModel | None = Field(description="When asked for by `segment`.")


class ResultsAnswer(BaseModel):
    """Results."""

    data: ResultsModel
    meta: Nothing

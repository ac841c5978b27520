"""What requests and answers about experiments hold."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from query_api.surfaces.llm.dataset_models import Example


class NewExperiment(BaseModel):
    """An experiment to create."""

    name: str | None = Field(None, max_length=300, description="A name is made up when it is left out.")
    description: str | None = Field(None, max_length=10_000)
    metadata: dict[str, Any] | None = None
    version_id: str | None = Field(None, description="GlobalID of a version of the dataset; the newest when left out.")
    splits: list[str] | None = Field(None, max_length=1_000, description="Only examples in any of these splits, by GlobalID or name.")
    repetitions: int = Field(1, ge=1, le=10_000, description="How often the task runs on each example.")


class ExperimentChanges(BaseModel):
    """What of an experiment changes; a field that is left out stays."""

    name: str = Field("", max_length=300)
    description: str | None = Field(None, max_length=10_000)
    metadata: dict[str, Any] = Field(default_factory=dict, description="Takes the place of all that is there.")


class Experiment(BaseModel):
    """An experiment."""

    id: str
    dataset_id: str
    dataset_version_id: str
    name: str
    description: str | None
    repetitions: int
    metadata: dict[str, Any]
    project_name: str
    created_at: datetime
    updated_at: datetime
    example_count: int
    successful_run_count: int
    failed_run_count: int
    missing_run_count: int


class OneExperiment(BaseModel):
    """One experiment."""

    data: Experiment


class Experiments(BaseModel):
    """A page of experiments."""

    data: list[Experiment]
    next_cursor: str | None


class NewRun(BaseModel):
    """What the task gave for an example."""

    dataset_example_id: str = Field(description="GlobalID of the example (`node_id`).")
    output: Any = None
    repetition_number: int = Field(ge=1)
    start_time: datetime
    end_time: datetime
    trace_id: str | None = Field(None, max_length=1_000)
    error: str | None = Field(None, description="Why the task failed. A failed run may be sent again.")


class Run(BaseModel):
    """A run."""

    id: str
    experiment_id: str
    dataset_example_id: str
    repetition_number: int
    output: Any
    error: str | None
    trace_id: str | None
    start_time: datetime
    end_time: datetime


class Runs(BaseModel):
    """A page of runs."""

    data: list[Run]
    next_cursor: str | None


class IncompleteRun(BaseModel):
    """An example whose runs are not complete."""

    dataset_example: Example
    repetition_numbers: list[int]


class IncompleteRuns(BaseModel):
    """A page of examples whose runs are not complete."""

    data: list[IncompleteRun]
    next_cursor: str | None


class IncompleteEvaluation(BaseModel):
    """A run whose evaluations are not complete."""

    experiment_run: Run
    dataset_example: Example
    evaluation_names: list[str]


class IncompleteEvaluations(BaseModel):
    """A page of runs whose evaluations are not complete."""

    data: list[IncompleteEvaluation]
    next_cursor: str | None


class Result(BaseModel):
    """What an evaluator found."""

    label: str | None = None
    score: float | None = Field(None, allow_inf_nan=False)
    explanation: str | None = None


class NewEvaluation(BaseModel):
    """How an evaluator judged a run."""

    experiment_run_id: str
    name: str = Field(min_length=1, max_length=300)
    annotator_kind: Literal["LLM", "CODE", "HUMAN"]
    start_time: datetime
    end_time: datetime
    result: Result | None = None
    error: str | None = Field(None, description="Why the evaluator failed.")
    metadata: dict[str, Any] | None = None
    trace_id: str | None = Field(None, max_length=1_000)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.result is None and self.error is None:
            raise ValueError("Either 'result' or 'error' must be provided")
        return self


class Id(BaseModel):
    """An id."""

    id: str


class OneId(BaseModel):
    """The id of what was stored."""

    data: Id


class Reading(BaseModel):
    """One way to judge the difference."""

    p_value: float | None
    interval: tuple[float, float] | None
    reason: str | None = Field(description="Why something is absent.")
    meaning: str | None = Field(description="The reason in words.")


class Compared(BaseModel):
    """How many examples were compared."""

    compared: int
    changed: int = Field(description="Scored in both, but changed between the two versions, and so left out.")
    experiment_only: int
    baseline_only: int


class Comparison(BaseModel):
    """The paired difference of one evaluation's scores: experiment minus baseline."""

    experiment_id: str
    baseline_id: str
    evaluation: str
    examples: Compared
    experiment_mean: float | None
    baseline_mean: float | None
    difference: float | None
    standard_error: float | None
    wins: int
    losses: int
    ties: int
    alpha: float
    fixed: Reading = Field(description="Student's paired t: for one look, when the last run is in.")
    anytime: Reading = Field(description="Holds however often one looks while runs come in.")
    significant: bool = Field(description="Whether the anytime p-value is at most alpha.")


class OneComparison(BaseModel):
    """A comparison, enveloped."""

    data: Comparison


class DiffRun(BaseModel):
    """A run in a diff."""

    id: str
    repetition_number: int
    output: Any
    error: str | None
    latency_ms: float
    trace_id: str | None
    evaluations: dict[str, dict[str, Any]]


class DiffItem(BaseModel):
    """An example and what both experiments made of it."""

    example_id: str
    id: str
    changed: bool = Field(description="Whether the two versions hold different content; that of the experiment is shown.")
    input: dict[str, Any]
    reference_output: dict[str, Any]
    metadata: dict[str, Any]
    experiment: list[DiffRun]
    baseline: list[DiffRun]
    differences: dict[str, float] = Field(description="Mean score minus that of the baseline, by evaluation.")


class Diff(BaseModel):
    """A page of a diff."""

    data: list[DiffItem]
    next_cursor: str | None

"""A rule of online evaluation: which spans are judged as they arrive, how, and when somebody is told.

A rule applies to spans that arrive from its creation on; one that was changed, to spans that arrive from the change on. Nothing is judged again.
"""

from typing import Annotated, Final, Literal

import msgspec
import xxhash
from msgspec import Meta

from schemas.annotation import NOTE
from schemas.evaluation_filter import compiled_filter
from schemas.evaluators.catalogue import Evaluator
from schemas.evaluators.own_calls import is_own
from schemas.evaluators.span import EvaluatedSpan
from schemas.fields import Name, TenantId, Time

EvaluationUnit = Literal["span", "trace_root"]
Measure = Literal["mean_score", "label_share", "failure_share"]
MAX_ALERTS: Final = 10
Share = Annotated[float, Meta(ge=0, le=1)]


class Alert(msgspec.Struct, frozen=True):
    """A threshold on the evaluations of the last minutes."""

    measure: Measure
    """mean_score, over those with a score; label_share, the share of a label among those with one; failure_share, the share that failed."""
    below: float | None = None
    above: float | None = None
    """Exactly one of the two; for shares from 0 to 1."""
    label: str = ""
    """label_share only."""
    over_minutes: Annotated[int, Meta(ge=1, le=1_440)] = 10
    """The minute under way and those before it, by the time the spans ended."""
    at_least: Annotated[int, Meta(ge=1)] = 20
    """With fewer evaluations nothing is said, neither that the threshold is crossed nor that it is not."""

    def __post_init__(self) -> None:
        if (self.below is None) == (self.above is None):
            raise ValueError("below: give either `below` or `above`")
        if (self.measure == "label_share") != bool(self.label):
            raise ValueError("label: `label_share` needs the label, and only it has one")
        limit = self.below if self.below is not None else self.above
        if self.measure != "mean_score" and limit is not None and not 0 <= limit <= 1:
            raise ValueError("above: a share goes from 0 to 1")

    @property
    def name(self) -> str:
        """What the threshold says, in words; a changed one is another one."""
        what = {"mean_score": "mean score", "label_share": f"share of {self.label}", "failure_share": "share of failures"}[self.measure]
        limit = f"below {self.below:g}" if self.below is not None else f"above {self.above:g}"
        return f"{what} {limit} over {self.over_minutes} min"

    def crossed(self, value: float) -> bool:
        """Whether a value is beyond the limit; one exactly on it is not."""
        return value < self.below if self.below is not None else value > (self.above or 0.0)


class EvaluationRule(msgspec.Struct, frozen=True):
    """A rule as defined."""

    tenant: TenantId
    id: Name
    annotation: Name
    """Name of the annotations it writes; their identifier is the rule's id."""
    evaluator: Evaluator
    name: str = ""
    description: str = ""
    project: str = ""
    """Name of the project whose spans are judged; empty for all."""
    filter: str = ""
    """Which of them, in the filter language of spans; empty for all."""
    sampling_rate: Share = 1.0
    """Share of those that is judged. Always the same spans: raising it adds some and takes none away."""
    unit: EvaluationUnit = "span"
    """trace_root: only spans without a parent, each standing for its trace, which gets the annotation."""
    enabled: bool = True
    alerts: Annotated[tuple[Alert, ...], Meta(max_length=MAX_ALERTS)] = ()
    created_at: Time | None = None
    updated_at: Time | None = None

    def __post_init__(self) -> None:
        if self.annotation == NOTE:
            raise ValueError(f"annotation: {NOTE!r} is the name of people's notes; choose another")
        try:
            compiled_filter(self.filter)
        except ValueError as error:
            raise ValueError(f"filter: {error}") from error
        if len({alert.name for alert in self.alerts}) != len(self.alerts):
            raise ValueError("alerts: two say the same; remove one")

    def applies(self, span: EvaluatedSpan) -> bool:
        """Whether a span is judged. Spans of judges' own calls never are."""
        return (
            self.project in ("", span.project)
            and (self.unit == "span" or not span.parent_id)
            and sampled(self, span)
            and not is_own(span.trace_id)
            and compiled_filter(self.filter)(span)
        )


def sampled(rule: EvaluationRule, span: EvaluatedSpan) -> bool:
    """Whether the sample of a rule holds a span: XXH3-64 (xxhash.com) of `rule/trace`, of a span `rule/trace/span`, as a share of 2^64, is below the rate."""
    if rule.sampling_rate >= 1:
        return True
    unit = span.trace_id if rule.unit == "trace_root" else f"{span.trace_id}/{span.span_id}"
    return xxhash.xxh3_64_intdigest(f"{rule.id}/{unit}".encode()) < rule.sampling_rate * 2**64

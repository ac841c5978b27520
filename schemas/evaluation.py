"""What became of one span under one rule: the row that counts it and, when it was judged, its annotation."""

from dataclasses import dataclass, field
from typing import Any

from schemas.annotation import Annotation, Key
from schemas.evaluation_rule import EvaluationUnit
from schemas.evaluators.verdict import Verdict, shortened


@dataclass(frozen=True)
class Judged:
    """The span and the rule, as much of both as an evaluation says."""

    tenant: str
    rule: str
    annotation: str
    unit: EvaluationUnit
    trace_id: str
    span_id: str
    project: str
    ended_us: int


@dataclass(frozen=True)
class Spent:
    """What judging took."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    currency: str = ""


@dataclass(frozen=True)
class Evaluation:
    """A verdict, or why there is none."""

    of: Judged
    at_us: int
    verdict: Verdict | None
    kind: str = "CODE"
    """Annotator kind: CODE or LLM."""
    reason: str = ""
    detail: str = ""
    spent: Spent = Spent()
    facts: dict[str, Any] = field(default_factory=dict)
    """For the annotation's metadata, beside those of the verdict."""

    def row(self) -> dict[str, Any]:
        """The row of the table `evaluations`."""
        of, verdict, spent = self.of, self.verdict, self.spent
        return {
            "tenant": of.tenant, "rule": of.rule, "trace_id": of.trace_id, "span_id": of.span_id, "project": of.project, "time": of.ended_us,
            "outcome": "judged" if verdict else "failed", "label": verdict.label if verdict else None, "score": verdict.score if verdict else None,
            "reason": self.reason, "detail": shortened(self.detail, 1_000), "calls": spent.calls, "tokens": min(spent.tokens, 2**31 - 1),
            "cost": spent.cost, "currency": spent.currency, "evaluated": self.at_us,
        }  # fmt: skip

    def annotation_row(self) -> dict[str, Any] | None:
        """The row of the table `annotations`; None for a failure."""
        of, verdict = self.of, self.verdict
        if verdict is None:
            return None
        if of.unit == "trace_root":
            key = Key("trace", of.trace_id, -1, of.annotation, of.rule)
        else:
            key = Key("span", of.span_id, -1, of.annotation, of.rule, of.trace_id)
        metadata = {"rule": of.rule, **verdict.facts, **self.facts}
        annotation = Annotation(key, self.kind, verdict.label, verdict.score, verdict.explanation or None, "RULE", self.at_us, self.at_us, metadata)
        return annotation.row(of.tenant)

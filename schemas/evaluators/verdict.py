"""What an evaluator says of a span."""

from dataclasses import dataclass, field
from typing import Any, Final

PASS, FAIL = 1.0, 0.0
MAX_EXPLANATION: Final = 2_000
"""Characters of an explanation; the rest is left out."""


@dataclass(frozen=True)
class Verdict:
    """A judgement. At least one of label and score is there."""

    label: str | None
    score: float | None
    explanation: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """What it rests on, JSON-able; goes into the annotation's metadata."""


class CannotJudge(Exception):
    """There is no judgement of this span; counted as a failure of the rule, and no annotation is written."""

    def __init__(self, reason: str, detail: str) -> None:
        """`reason` is one of few words that figures are kept by, `detail` a sentence for people."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def shortened(text: str, limit: int = MAX_EXPLANATION) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"

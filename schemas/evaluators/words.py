"""`contains` and `equals`: what a text holds, or is."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import FAIL, PASS, Verdict, shortened

MAX_TEXTS = 100
Text = Annotated[str, Meta(min_length=1, max_length=10_000)]


class Contains(msgspec.Struct, frozen=True, tag="contains", tag_field="type"):
    """Label `found` or `not_found`; score 1 when the texts are there as `which` wants it."""

    texts: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MAX_TEXTS)]
    attribute: str = "output"
    which: Literal["any", "all", "none"] = "any"
    ignore_case: bool = False

    def verdict(self, span: EvaluatedSpan) -> Verdict:
        """Raises CannotJudge without the attribute."""
        text = _folded(span.text(self.attribute), self.ignore_case)
        found = [each for each in self.texts if _folded(each, self.ignore_case) in text]
        right = {"any": bool(found), "all": len(found) == len(self.texts), "none": not found}[self.which]
        return Verdict("found" if found else "not_found", PASS if right else FAIL, f"`{self.attribute}` holds {shortened(_listed(found), 500)}")


class Equals(msgspec.Struct, frozen=True, tag="equals", tag_field="type"):
    """Label `equal` or `different`; score 1 or 0. What is compared with stands in the rule or in another attribute of the span."""

    text: str | None = None
    reference: str = ""
    """Name of the attribute to compare with, when `text` is not given."""
    attribute: str = "output"
    ignore_case: bool = False
    strip: bool = True
    """Whether white space around the texts is left out of account."""

    def __post_init__(self) -> None:
        if (self.text is None) != bool(self.reference):
            raise ValueError("text: give either `text` or `reference`, the attribute that holds what is expected")

    def verdict(self, span: EvaluatedSpan) -> Verdict:
        """Raises CannotJudge without the attributes."""
        texts = [span.text(self.attribute), span.text(self.reference) if self.text is None else self.text]
        one, other = (_folded(each.strip() if self.strip else each, self.ignore_case) for each in texts)
        return Verdict("equal", PASS) if one == other else Verdict("different", FAIL, f"{shortened(texts[0], 200)!r} is not {shortened(texts[1], 200)!r}")


def _folded(text: str, fold: bool) -> str:
    return text.casefold() if fold else text


def _listed(found: list[str]) -> str:
    return ", ".join(repr(each) for each in found) or "none of the texts"

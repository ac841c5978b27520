"""`similarity`: how near a text is to what was expected.

- `levenshtein`: 1 - d / max(|a|, |b|), d being the least number of characters to insert, delete or replace (V. Levenshtein, "Binary codes
  capable of correcting deletions, insertions, and reversals", 1966).
- `token_f1`: the harmonic mean of precision and recall over the words of the two texts, lower case, without punctuation and English articles
  (P. Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016, section 6.1).
"""

import re
import string
from collections import Counter
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from rapidfuzz.distance import Levenshtein

from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import CannotJudge, Verdict

MAX_TEXT: Final = 20_000
"""Characters of each text; the time of the comparison rises with their product."""
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Similarity(msgspec.Struct, frozen=True, tag="similarity", tag_field="type"):
    """The score is the similarity from 0 to 1; the label `similar` from the threshold on, else `different`."""

    measure: Literal["levenshtein", "token_f1"] = "levenshtein"
    text: str | None = None
    """What is expected, when it is the same for every span."""
    reference: str = ""
    """Name of the attribute that holds it, else."""
    attribute: str = "output"
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.8

    def __post_init__(self) -> None:
        if (self.text is None) != bool(self.reference):
            raise ValueError("text: give either `text` or `reference`, the attribute that holds what is expected")
        if self.text is not None and len(self.text) > MAX_TEXT:
            raise ValueError(f"text: has {len(self.text)} characters; the limit is {MAX_TEXT}")

    def verdict(self, span: EvaluatedSpan) -> Verdict:
        """Raises CannotJudge without the attributes, and for texts too long to compare."""
        texts = {self.attribute: span.text(self.attribute), self.reference: span.text(self.reference) if self.text is None else self.text}
        for name, text in texts.items():
            if len(text) > MAX_TEXT:
                raise CannotJudge("too_long", f"`{name}` has {len(text)} characters; at most {MAX_TEXT} are compared")
        one, other = texts[self.attribute], texts[self.reference]
        score = token_f1(one, other) if self.measure == "token_f1" else levenshtein(one, other)
        label = "similar" if score >= self.threshold else "different"
        return Verdict(label, score, f"{self.measure} {score:.4g}, the threshold is {self.threshold:g}")


def levenshtein(one: str, other: str) -> float:
    """Normalised Levenshtein similarity; 1 for two empty texts."""
    return float(Levenshtein.normalized_similarity(one, other))


def token_f1(one: str, other: str) -> float:
    """F1 over words; 1 for two texts without words, 0 when only one has none."""
    words, wanted = Counter(_words(one)), Counter(_words(other))
    if not words or not wanted:
        return float(words == wanted)
    common = (words & wanted).total()
    return 2 * common / (words.total() + wanted.total())


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()

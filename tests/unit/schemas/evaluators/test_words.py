"""`contains` and `equals`."""

from typing import Any

import pytest

from schemas.evaluators.verdict import CannotJudge
from schemas.evaluators.words import Contains, Equals
from tests.unit.schemas.evaluators.support import said, span


@pytest.mark.parametrize(
    ("which", "text", "label", "score"),
    [
        ("any", "a refund", "found", 1.0),
        ("any", "nothing", "not_found", 0.0),
        ("all", "refund and apology", "found", 1.0),
        ("all", "refund", "found", 0.0),
        ("none", "fine", "not_found", 1.0),
        ("none", "an apology", "found", 0.0),
    ],
)
def test_contains(which: Any, text: str, label: str, score: float) -> None:
    verdict = Contains(("refund", "apology"), which=which).verdict(said(text))
    assert (verdict.label, verdict.score) == (label, score)


def test_case_is_ignored_on_request_only() -> None:
    assert Contains(("STRASSE",), ignore_case=True).verdict(said("in der Straße")).score == 1.0
    assert Contains(("STRASSE",)).verdict(said("in der Straße")).score == 0.0


def test_equals_a_text_or_another_attribute() -> None:
    assert Equals(text="yes").verdict(said(" yes\n")).label == "equal"
    assert Equals(text="yes", strip=False).verdict(said(" yes\n")).score == 0.0
    assert Equals(text="YES", ignore_case=True).verdict(said("yes")).score == 1.0
    answered = span({"output.value": "4", "expected": 4})
    assert Equals(reference="expected").verdict(answered).score == 1.0
    assert "'4' is not '5'" in Equals(text="5").verdict(answered).explanation
    with pytest.raises(CannotJudge, match="`expected`"):
        Equals(reference="expected").verdict(said("x"))


def test_an_empty_text_may_be_what_is_expected() -> None:
    assert Equals(text="").verdict(said("")).score == 1.0


@pytest.mark.parametrize("fields", [{}, {"text": "a", "reference": "b"}])
def test_equals_needs_one_thing_to_compare_with(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give either `text` or `reference`"):
        Equals(**fields)

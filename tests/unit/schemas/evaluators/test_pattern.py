"""`regex` agrees with Python's expressions where both understand the pattern, and never takes long."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.evaluators.pattern import Regex
from schemas.evaluators.verdict import CannotJudge
from tests.unit.schemas.evaluators.support import said, span

PATTERNS = (r"(?i)sorry", r"^\d{3}-\d+$", r"a.*b|c", r"(?s)x.y", r"\bend\b", "ü+", r"[^a-z]")


@given(st.sampled_from(PATTERNS), st.text("abcxyz ü1-2\nsory end", max_size=30))
def test_as_python_finds(pattern: str, text: str) -> None:
    verdict = Regex(pattern).verdict(said(text))
    found = re.search(pattern.replace("$", r"\Z"), text)
    assert (verdict.label, verdict.score) == (("match", 1.0) if found else ("no_match", 0.0))
    if found:
        assert verdict.explanation.endswith(f"at character {found.start()}")


def test_what_is_not_wanted() -> None:
    rule = Regex("(?i)as an ai", wanted=False)
    assert (rule.verdict(said("As an AI model")).label, rule.verdict(said("As an AI model")).score) == ("match", 0.0)
    assert rule.verdict(said("Sure")).score == 1.0


def test_of_another_attribute() -> None:
    assert Regex("^4o$", attribute="m").verdict(span({"m": "4o"})).score == 1.0
    with pytest.raises(CannotJudge):
        Regex("x").verdict(span())


def test_a_pattern_that_would_take_for_ever_elsewhere() -> None:
    assert Regex(r"^(a+)+$").verdict(said("a" * 50_000 + "b")).label == "no_match"


@pytest.mark.parametrize("pattern", ["a(", "(?=x)", r"(a)\1", "[z-a]", "\ud800"])
def test_what_cannot_be_compiled_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern: not a regular expression of RE2"):
        Regex(pattern)

"""`similarity` agrees with the definitions of its measures, computed in other ways."""

import re
import string
from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.evaluators.similarity import Similarity, levenshtein, token_f1
from schemas.evaluators.verdict import CannotJudge
from tests.unit.schemas.evaluators.support import said, span

TEXTS = st.text("abä ", max_size=12)


def distance(one: str, other: str) -> int:
    """By the recurrence of Wagner and Fischer, "The String-to-String Correction Problem", 1974."""

    @cache
    def between(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(between(i - 1, j) + 1, between(i, j - 1) + 1, between(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    return between(len(one), len(other))


@given(TEXTS, TEXTS)
def test_levenshtein_as_the_recurrence_says(one: str, other: str) -> None:
    expected = 1 - distance(one, other) / max(len(one), len(other)) if one or other else 1.0
    assert levenshtein(one, other) == pytest.approx(expected, abs=1e-12)


def test_levenshtein_of_the_textbook() -> None:
    assert levenshtein("kitten", "sitting") == pytest.approx(1 - 3 / 7)


@given(st.lists(st.sampled_from(["the", "cat", "Cat,", "sat", "a", "mat."]), max_size=8), st.lists(st.sampled_from(["the", "cat", "sat", "hat"]), max_size=8))
def test_token_f1_from_precision_and_recall(one: list[str], other: list[str]) -> None:
    def words(text: str) -> list[str]:
        plain = "".join(letter for letter in text.lower() if letter not in string.punctuation)
        return [word for word in re.split(r"\s+", plain) if word and word not in ("a", "an", "the")]

    mine, theirs = words(" ".join(one)), words(" ".join(other))
    left = Counter(theirs)
    same = 0
    for word in mine:
        if left[word] > 0:
            left[word] -= 1
            same += 1
    if not mine or not theirs:
        expected = float(mine == theirs)
    elif not same:
        expected = 0.0
    else:
        precision, recall = same / len(mine), same / len(theirs)
        expected = 2 * precision * recall / (precision + recall)
    assert token_f1(" ".join(one), " ".join(other)) == pytest.approx(expected, abs=1e-12)


def test_label_by_threshold_and_references() -> None:
    rule = Similarity(reference="expected", threshold=0.5)
    assert rule.verdict(span({"output.value": "Paris", "expected": "paris"})).label == "similar"
    assert rule.verdict(span({"output.value": "London", "expected": "paris"})).label == "different"
    assert Similarity("token_f1", text="The capital is Paris").verdict(said("Paris is the capital!")).score == 1.0
    with pytest.raises(CannotJudge, match="`expected`"):
        rule.verdict(said("x"))
    with pytest.raises(ValueError, match="give either `text` or `reference`"):
        Similarity()


def test_long_texts_are_not_compared() -> None:
    with pytest.raises(CannotJudge) as caught:
        Similarity(text="x").verdict(said("x" * 20_001))
    assert caught.value.reason == "too_long"

"""What a model is asked, and what its answer means."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.evaluators.judge import MAX_VALUE, Judge
from schemas.evaluators.verdict import CannotJudge
from tests.unit.schemas.evaluators.support import said, span

CHOICES = {"correct": 1.0, "incorrect": 0.0, "unclear": None}


def judge(**fields: Any) -> Judge:
    return Judge(**{"base_url": "https://models.example/v1/", "model": "m", "prompt": "Q: {{input}} A: {{ output }}", "choices": CHOICES, **fields})


def test_the_prompt_holds_the_values_once() -> None:
    assert judge().prompt_for(said("{{input}}", "2+2?")) == "Q: 2+2? A: {{input}}"
    assert judge(prompt="{{llm_model}} {{x.y}} {{latency_ms}}").prompt_for(span({"x.y": [1, "z"]})) == 'gpt-4o [1,"z"] 2000.0'
    with pytest.raises(CannotJudge, match="`output`"):
        judge().prompt_for(span({"input.value": "x"}))


def test_the_middle_of_a_long_value_is_left_out() -> None:
    text = "a" * MAX_VALUE + "b" * 1_000
    shown = judge(prompt="{{output}}").prompt_for(said(text))
    assert len(shown) < MAX_VALUE + 100 and shown.endswith("b" * 1_000) and "[1000 characters left out]" in shown


def test_the_request() -> None:
    request = judge(parameters={"temperature": 0}).request("the prompt")
    assert request["model"] == "m" and request["temperature"] == 0
    assert request["messages"][1] == {"role": "user", "content": "the prompt"}
    assert "correct, incorrect, unclear" in request["messages"][0]["content"]
    assert judge().url == "https://models.example/v1/chat/completions"


@pytest.mark.parametrize("answer", ["correct", " Correct. ", "**correct**", '"correct"', "Label: correct", "CORRECT!\n"])
def test_answers_that_are_a_choice(answer: str) -> None:
    verdict = judge().verdict_of(answer)
    assert (verdict.label, verdict.score) == ("correct", 1.0)


@pytest.mark.parametrize("answer", ["", "yes", "correct or incorrect", "It is correct that this is incorrect", "not correct", "corr"])
def test_answers_that_are_none(answer: str) -> None:
    with pytest.raises(CannotJudge, match="none of correct, incorrect, unclear") as caught:
        judge().verdict_of(answer)
    assert caught.value.reason == "not_a_choice"


def test_an_explanation_comes_before_the_label() -> None:
    verdict = judge(explain=True).verdict_of("The sum is wrong.\nIt is 4.\n\nincorrect\n")
    assert (verdict.label, verdict.score, verdict.explanation) == ("incorrect", 0.0, "The sum is wrong.\nIt is 4.")
    assert judge().verdict_of("unclear").score is None


@given(st.text(max_size=60))
def test_any_answer_is_a_choice_or_a_failure(answer: str) -> None:
    for explain in (False, True):
        with suppress(CannotJudge):
            assert judge(explain=explain).verdict_of(answer).label in CHOICES


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"base_url": "ftp://x"}, "base_url: must look like"),
        ({"base_url": "https://user:pw@x/v1"}, "base_url: must look like"),
        ({"base_url": "https://x/v1?key=1"}, "base_url: must look like"),
        ({"prompt": "no gap"}, "prompt: names nothing of the span"),
        ({"choices": {"Yes": 1.0, "yes.": 0.0}}, "choices: two labels differ only in case"),
        ({"choices": {"!": 1.0, "a": 0.0}}, "choices: two labels differ only in case"),
        ({"parameters": {"messages": []}}, "parameters: `messages` is set by the rule"),
    ],
)
def test_judges_that_cannot_be_used_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        judge(**fields)


def test_it_survives_the_trip_through_a_task() -> None:
    assert msgspec.json.decode(msgspec.json.encode(judge(explain=True)), type=Judge) == judge(explain=True)

"""How values of unknown type are read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.any_value import Value
from schemas.span_filter.evaluate import Facts, Note, matches
from schemas.span_filter.parser import parse
from schemas.span_filter.tree import Path
from schemas.span_filter.values import Branch, as_boolean, as_number, as_text, at, decimal, number_text, texts


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "1"), (0.5, "0.5"), (-12.25, "-12.25"), (1e20, "100000000000000000000"), (1e21, "1e21"), (1.5e300, "1.5e300"), (1e-6, "0.000001"), (1.25e-7, "1.25e-7"),
     (123456789.0, "123456789"), (0.0, "0"), (-0.0, "-0"), (5e-324, "5e-324"), (0.1 + 0.2, "0.30000000000000004"), (1234.0625, "1234.0625")],
)  # fmt: skip
def test_numbers_in_their_shortest_form(number: float, text: str) -> None:
    assert number_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_shortest_form_is_the_number(number: float) -> None:
    assert float(number_text(number)) == number and decimal(number_text(number)) == number


@pytest.mark.parametrize("text", ["1_000", "nan", "inf", "0x10", "1e400", "", "abc", "1 2", "１"])
def test_texts_that_are_no_numbers(text: str) -> None:
    assert decimal(text) is None


def test_readings() -> None:
    assert as_number(" 12 ") == 12 and as_number(True) is None and as_number(math.inf) is None and as_number([1]) is None
    assert as_boolean("TRUE") is True and as_boolean(0) is False and as_boolean(2) is None and as_boolean("yes") is None and as_boolean({}) is None
    assert as_text(True) == "true" and as_text(2**60) == str(2**60) and as_text(b"x") is None and as_text(math.nan) is None
    assert texts(["a", 1, "b"]) == ["a", "b"] == texts({"x": "a", "y": "b", "z": ["c"]}) and texts(Branch(["a", 1])) == ["a"] and texts(5) == ["5"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("a", "b"), 1),
        (("a",), None),
        (("llm", "model_name"), "m"),
        (("metadata", "k"), "v"),
        (("metadata", "list", 1), 2),
        (("metadata", "list", 9), None),
        (("metadata",), '{"k": "v", "list": [1, 2]}'),
        (("kv", "x", "y"), "deep"),
        (("kv", "x", "y", "z"), None),
        (("input", "value", "x"), None),
        (("none",), None),
    ],
)
def test_where_an_attribute_is(path: Path, found: Value) -> None:
    attributes: dict[str, Value] = {
        "a.b": 1, "gen_ai.request.model": "m", "metadata": '{"k": "v", "list": [1, 2]}', "kv": {"x": {"y": "deep"}}, "input.value": "text", "none": None
    }  # fmt: skip
    value = at(attributes, path)
    assert value == found or isinstance(value, Branch) and path == ("a",)


def test_one_of_several_annotations_suffices() -> None:
    notes = [Note("q", "bad", 0.1), Note("q", "good", 0.9), Note("q", "fine", 0.5, about="trace")]
    span = Facts("t", "s", None, "n", "LLM", 1, "", 0, 5_000_000, {}, notes)
    assert matches(parse("annotations['q'].score > 0.8 and annotations['q'].label == 'good'"), span)
    assert not matches(parse("annotations['q'].score > 0.8 and annotations['q'].label == 'bad'"), span), "both are asked of the same one"
    assert matches(parse("trace_annotations['q'].score == 0.5 and latency_ms == 5"), span) and not matches(parse("annotations['other']"), span)

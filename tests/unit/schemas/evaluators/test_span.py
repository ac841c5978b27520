"""What rules can name of a span."""

import pytest

from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import CannotJudge
from tests.unit.schemas.evaluators.support import span


def test_fields_and_attributes() -> None:
    one = span({"llm.model_name": "gpt-4o", "n": 3, "flags": ["a", 1], "nested": {"x": {"y": True}}})
    assert (one.value("name"), one.value("latency_ms"), one.value("n")) == ("chat", 2_000.0, 3)
    assert one.value("attributes.n") == 3 and one.value("nested.x.y") is True
    assert one.text("flags") == '["a",1]' and one.text("n") == "3"
    assert one.value("nothing") is None
    with pytest.raises(CannotJudge, match="the span has no `nothing`") as caught:
        one.text("nothing")
    assert caught.value.reason == "missing"


def test_a_stored_falsehood_is_there() -> None:
    one = span({"zero": 0, "empty": "", "no": False})
    assert [one.text(name) for name in ("zero", "empty", "no")] == ["0", "", "false"]


def test_input_and_output_in_both_conventions() -> None:
    theirs = span({"gen_ai.output.messages": '[{"role":"assistant"}]', "gen_ai.input.messages": "[]"})
    assert theirs.text("output") == '[{"role":"assistant"}]'
    assert span({"output.value": "mine", "gen_ai.output.messages": "theirs"}).text("output") == "mine"


def test_names_of_the_other_convention_and_what_lies_within_json_text() -> None:
    one = span({"gen_ai.request.model": "claude", "metadata": '{"tier": {"name": "gold"}}'})
    assert one.value("llm.model_name") == "claude" and one.value("metadata.tier.name") == "gold"


def test_what_is_below_a_name() -> None:
    one = span({"retrieval.documents.0.document.content": "first", "retrieval.documents.1.document.content": "second"})
    assert one.value("retrieval.documents") == {"0.document.content": "first", "1.document.content": "second"}
    assert "second" in one.text("retrieval.documents")


def test_bytes_that_are_no_value_are_not_there() -> None:
    broken = EvaluatedSpan(**{**vars(span()), "raw": {"x": b"\xff\xff\xff"}})
    assert broken.value("x") is None


@pytest.mark.parametrize(("start_ns", "end_ns", "counted_us"), [(5_000, 9_000, 9), (9_000, 5_000, 9), (0, 9 * 10**18, 0)])
def test_a_span_is_counted_when_it_ended_unless_that_is_absurd(start_ns: int, end_ns: int, counted_us: int) -> None:
    assert span(start_ns=start_ns, end_ns=end_ns).ended_us == counted_us


def test_from_a_row_with_numbers_as_text() -> None:
    row = {
        **{name: getattr(span(), name) for name in vars(span()) if name != "raw"},
        "span_kind": "llm", "status_code": "2", "start_ns": "1000", "end_ns": "2000", "prompt_tokens": "7", "encoded": {"a": "CgF4"},
    }  # fmt: skip
    one = EvaluatedSpan.from_row(row)
    assert (one.span_kind, one.status_code, one.start_ns, one.prompt_tokens, one.value("a")) == ("LLM", "ERROR", 1000, 7, "x")

"""Which spans a rule judges, and what is refused."""

import secrets
from typing import Any

import pytest
import xxhash

from schemas.definition_kinds import convert_definition, decode_definition, encode_definition
from schemas.evaluation_rule import Alert, EvaluationRule, sampled
from schemas.evaluators.own_calls import own_traceparent
from tests.unit.schemas.evaluators.support import span


def rule(**fields: Any) -> EvaluationRule:
    values = {"tenant": "default", "id": "polite", "annotation": "polite", "evaluator": {"type": "regex", "pattern": "x"}, **fields}
    found = convert_definition("evaluation_rule", values)
    assert isinstance(found, EvaluationRule)
    return found


def test_it_survives_the_trip() -> None:
    judge = {"type": "judge", "base_url": "http://localhost:1/v1", "model": "m", "prompt": "{{output}}", "choices": {"a": 1, "b": None}}
    one = rule(evaluator=judge, alerts=[{"measure": "mean_score", "below": 0.5}], filter="span_kind == 'LLM'", sampling_rate=0.25)
    assert decode_definition("evaluation_rule", encode_definition(one)) == one


def test_project_unit_and_filter() -> None:
    assert rule().applies(span()) and rule(project="shop").applies(span()) and not rule(project="other").applies(span())
    child = span(parent_id="0102030405060708")
    assert rule().applies(child) and not rule(unit="trace_root").applies(child) and rule(unit="trace_root").applies(span())
    assert rule(filter="span_kind == 'llm' and latency_ms > 1000").applies(span())
    assert not rule(filter="span_kind == 'TOOL'").applies(span())
    assert rule(filter="'pay' in input.value and metadata['tier'] == 'gold'").applies(span({"input.value": "repay", "metadata": '{"tier": "gold"}'}))


def test_the_calls_of_judges_are_never_judged() -> None:
    assert not rule().applies(span(trace_id=own_traceparent()[3:35]))


def test_the_sample_is_the_published_hash() -> None:
    one = rule(sampling_rate=0.5)
    for _ in range(50):
        each = span(trace_id=secrets.token_hex(16))
        assert sampled(one, each) == (xxhash.xxh3_64(f"polite/{each.trace_id}/{each.span_id}".encode()).intdigest() / 2**64 < 0.5)


def test_raising_the_rate_takes_no_span_away() -> None:
    spans = [span(span_id=secrets.token_hex(8)) for _ in range(2_000)]
    few = {each.span_id for each in spans if sampled(rule(sampling_rate=0.1), each)}
    more = {each.span_id for each in spans if sampled(rule(sampling_rate=0.3), each)}
    assert few < more and 120 < len(few) < 290 and 500 < len(more) < 700
    assert not any(sampled(rule(sampling_rate=0.0), each) for each in spans)


def test_spans_of_a_trace_are_sampled_together_by_their_root() -> None:
    one = rule(sampling_rate=0.5, unit="trace_root")
    for _ in range(50):
        trace = secrets.token_hex(16)
        assert len({sampled(one, span(trace_id=trace, span_id=secrets.token_hex(8))) for _ in range(4)}) == 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"evaluator": {"type": "regex", "pattern": "("}}, "pattern: not a regular expression"),
        ({"evaluator": {"type": "json_schema", "schema": {"type": 1}}}, "schema: not a JSON schema"),
        ({"evaluator": {"type": "regexp"}}, "evaluator"),
        ({"filter": "span_kind = 'LLM'"}, "filter: line 1, column"),
        ({"filter": "name == 'x' and foo(1)"}, "filter: line 1, column 17"),
        ({"filter": "annotations['x'].score > 1"}, "filter: annotations are not known yet"),
        ({"filter": "parent_span is None"}, "filter: whether the parent is stored"),
        ({"filter": "cumulative_token_count.total > 5"}, "filter: the tokens below a span"),
        ({"annotation": "note"}, "annotation: 'note' is the name of people's notes"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
        ({"unit": "session"}, "unit"),
        ({"alerts": [{"measure": "mean_score", "below": 1}] * 2}, "alerts: two say the same"),
        ({"alerts": [{"measure": "mean_score"}]}, "give either `below` or `above`"),
        ({"alerts": [{"measure": "mean_score", "below": 1, "above": 2}]}, "give either `below` or `above`"),
        ({"alerts": [{"measure": "label_share", "above": 0.5}]}, "`label_share` needs the label"),
        ({"alerts": [{"measure": "failure_share", "above": 0.5, "label": "x"}]}, "only it has one"),
        ({"alerts": [{"measure": "failure_share", "above": 5}]}, "a share goes from 0 to 1"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        rule(**fields)


def test_a_threshold_is_crossed_beyond_it() -> None:
    low, high = Alert("mean_score", below=0.5), Alert("label_share", above=0.2, label="rude")
    assert [low.crossed(value) for value in (0.49, 0.5, 0.6)] == [True, False, False]
    assert [high.crossed(value) for value in (0.1, 0.2, 0.21)] == [False, False, True]
    assert (low.name, high.name) == ("mean score below 0.5 over 10 min", "share of rude above 0.2 over 10 min")

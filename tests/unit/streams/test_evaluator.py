"""Marks become evaluations; where there are no rules they cost nothing."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.runtime.errors import Unavailable
from infra.runtime.settings import StreamSettings
from schemas.any_value import encode
from schemas.avro import Mark, decode_evaluation_task
from schemas.definition_kinds import ControlRecord, encode_definition
from schemas.definitions import Definitions
from schemas.evaluation_rule import EvaluationRule
from schemas.evaluators.judge import Judge
from schemas.evaluators.pattern import Regex
from streams.evaluator import Evaluator
from streams.readers.evaluated_spans import PAGE
from tests.clock import HandClock
from tests.support import eventually
from tests.unit.schemas.evaluators.support import span
from tests.unit.streams.fakes import ScriptedClickHouse, ScriptedProducer

JUDGE = Judge("http://models/v1", "m", "{{output}}", {"a": 1.0, "b": 0.0})


class Place:
    """An evaluator over scripted parts."""

    def __init__(self, *rules: EvaluationRule, spans: int = 1) -> None:
        self.definitions = Definitions()
        for rule in rules:
            self.define(rule)
        self.clickhouse = ScriptedClickHouse(answer=self._answer)
        self.producer = ScriptedProducer()
        self.spans = spans
        self.released: list[int] = []
        parts: Any = (self.clickhouse, self.producer, self.definitions, StreamSettings(retry_initial_s=0.01), HandClock())
        self.evaluator = Evaluator(*parts)

    def define(self, rule: EvaluationRule, version: int = 1) -> None:
        self.definitions.apply(ControlRecord("evaluation_rule", rule.tenant, rule.id, version, False, encode_definition(rule), 0))

    def mark(self, offset: int = 7, **fields: Any) -> None:
        mark = Mark(
            **{"tenant": "default", "subject": "svc", "topic": "spans", "partition": 0, "offset": offset, "batch_id": "b", "minutes": (1,), "rows": 1, **fields}
        )
        self.evaluator.add(mark, lambda: self.released.append(offset))

    async def until(self, *released: int) -> None:
        """Run until these marks are released."""
        running = asyncio.create_task(self.evaluator.run())
        try:
            await eventually(lambda: sorted(self.released) == sorted(released), timeout=5.0)
        finally:
            running.cancel()

    def topics(self) -> list[str]:
        return [topic for topic, *_ in self.producer.sent]

    def _answer(self, sql: str, params: Any) -> list[dict[str, Any]]:
        if params["after_trace"]:
            return []
        one = span()
        plain = {name: getattr(one, name) for name in vars(one) if name != "raw"} | {"status_code": 1, "received_us": 1_790_000_003_000_000}
        encoded = {"output.value": "CgF4"}
        assert encode("x").hex() == "0a0178"
        return [{**plain, "trace_id": f"{number:032x}", "encoded": encoded} for number in range(self.spans)]


def rule(**fields: Any) -> EvaluationRule:
    return EvaluationRule(**{"tenant": "default", "id": "r", "annotation": "a", "evaluator": Regex("x"), **fields})


async def test_without_rules_a_mark_is_acknowledged_at_once() -> None:
    place = Place(rule(tenant="other"), rule(id="off", enabled=False))
    place.mark()
    assert place.released == [7] and not place.clickhouse.queries and not place.producer.sent


@pytest.mark.parametrize("fields", [{"topic": "metric_points"}, {"topic": "", "reason": "recompute"}, {"minutes": ()}])
async def test_marks_of_no_block_of_spans_are_acknowledged_at_once(fields: dict[str, Any]) -> None:
    place = Place(rule())
    place.mark(**fields)
    assert place.released == [7] and not place.clickhouse.queries


async def test_annotations_are_acknowledged_before_evaluations_and_both_before_the_mark() -> None:
    place = Place(rule())
    place.mark()
    assert not place.released
    await place.until(7)
    assert place.topics() == ["annotations", "evaluations"]


async def test_marks_of_a_tenant_go_together() -> None:
    place = Place(rule(), rule(id="r2", tenant="other"))
    for offset in range(5):
        place.mark(offset)
    place.mark(5, tenant="other")
    await place.until(*range(6))
    assert len(place.clickhouse.queries) == 2


async def test_what_is_away_is_tried_again_and_holds_the_mark() -> None:
    place = Place(rule())
    place.producer.failures = {"annotations": [Unavailable("away")], "evaluations": [Unavailable("away")]}
    place.mark()
    await place.until(7)
    assert place.topics() == ["annotations", "evaluations"]


async def test_pages_are_read_to_the_end() -> None:
    place = Place(rule(), spans=PAGE)
    place.mark(rows=PAGE)
    await place.until(7)
    assert len(place.clickhouse.queries) == 2


async def test_a_judge_gets_a_task_for_each_span() -> None:
    place = Place(rule(evaluator=JUDGE), spans=3)
    place.mark()
    await place.until(7)
    tasks = [decode_evaluation_task(value) for topic, value, key, _ in place.producer.sent if topic == "evaluation_tasks" and key == b"default/r"]
    assert [task.prompt for task in tasks] == ["x"] * 3 and place.topics() == ["evaluation_tasks"] * 3


async def test_a_rule_does_not_look_back() -> None:
    place = Place(rule(created_at=datetime(2027, 1, 1, tzinfo=UTC)))
    place.mark()
    await place.until(7)
    assert not place.producer.sent


async def test_a_filter_that_breaks_is_a_failure_of_that_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr("schemas.evaluation_rule.sampled", broken)
    place = Place(rule())
    place.mark()
    await place.until(7)
    assert place.topics() == ["evaluations"], "counted, and no annotation"


async def test_what_moved_away_is_left_to_its_owner() -> None:
    place = Place(rule())
    place.mark()
    place.evaluator.forget()
    place.mark(8)
    await place.until(8)

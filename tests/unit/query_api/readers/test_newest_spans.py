"""The hint since when the newest spans of a project began: looked up behind the reads that ask, and never in their way."""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.runtime.errors import Unavailable
from query_api.readers.conditions import Conditions
from query_api.readers.newest_spans import NewestSpans
from tests.support import eventually
from tests.unit.query_api.parts import HandClock, ScriptedRows

VISIBLE = Conditions(["1"], {"tenant": "t", "project": "p"})


class Project:
    """How many spans there are and when the oldest of the newest began."""

    def __init__(self) -> None:
        self.spans, self.edge_ns, self.away = 100_000, 5, False

    def __call__(self, _: str, params: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if self.away:
            raise Unavailable("away", retry_after_s=1)
        return [{"spans": min(self.spans, params["newest"]), "edge_ns": self.edge_ns, "page_ns": self.edge_ns + 1}]


async def _known(newest: NewestSpans, edge_ns: int) -> None:
    await eventually(lambda: newest.since_ns(VISIBLE, rare=True) == edge_ns)


async def test_it_is_looked_up_once_and_again_when_it_is_old() -> None:
    project, clock = Project(), HandClock()
    rows = ScriptedRows(project)
    newest = NewestSpans(rows, clock)
    assert newest.since_ns(VISIBLE, rare=True) is None is newest.since_ns(VISIBLE, rare=True), "nobody waits for the first look"
    await _known(newest, 5)
    project.edge_ns = 8
    assert newest.since_ns(VISIBLE, rare=True) == 5 and len(rows.asked) == 1
    assert newest.since_ns(VISIBLE, rare=False) == 6, "of a few pages it is later"
    clock.advance(11)
    assert newest.since_ns(VISIBLE, rare=True) == 5, "nor for a later one"
    await _known(newest, 8)
    assert len(rows.asked) == 2


async def test_a_project_with_few_spans_has_no_edge() -> None:
    project = Project()
    project.spans = 99_999
    rows, clock = ScriptedRows(project), HandClock()
    newest = NewestSpans(rows, clock)
    assert newest.since_ns(VISIBLE, rare=True) is None
    await eventually(lambda: len(rows.asked) == 1)
    assert newest.since_ns(VISIBLE, rare=True) is None
    project.spans = 100_000
    clock.advance(11)
    await _known(newest, 5)


async def test_while_clickhouse_is_away_the_last_one_holds() -> None:
    project, clock = Project(), HandClock()
    rows = ScriptedRows(project)
    newest = NewestSpans(rows, clock)
    await _known(newest, 5)
    project.away = True
    clock.advance(11)
    assert newest.since_ns(VISIBLE, rare=True) == 5
    await eventually(lambda: len(rows.asked) == 2)
    await eventually(lambda: newest.since_ns(VISIBLE, rare=True) == 5)
    project.away, project.edge_ns = False, 9
    clock.advance(11)
    await _known(newest, 9)

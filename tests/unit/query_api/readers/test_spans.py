"""Pages of spans while their copies come and go: which copy is shown, where, and how often the store is asked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from query_api.readers.conditions import Conditions
from query_api.readers.newest_spans import NewestSpans
from query_api.readers.span_list_filter import SpanFilter
from query_api.readers.spans import SpanReader
from tests.unit.query_api.parts import HandClock, ScriptedRows

VISIBLE = Conditions(["1"], {"tenant": "t", "project": "p"})
Row = Mapping[str, Any]


def copy(span: str, start: int, *, end: int = 0, received: int = 0, name: str = "", fits: bool = True) -> Row:
    """One stored copy of a span of its own trace."""
    texts = dict.fromkeys(("parent_id", "span_kind", "status_message", "project", "session_id", "trace_state", "scope_name"), "")
    numbers = {"start_ns": start, "end_ns": end, "received_us": received, "kind": 0, "status_code": 0, "flags": 0}
    return {**texts, **numbers, "trace_id": span, "span_id": span, "name": name, "fits": int(fits), "encoded_attributes": {}, "encoded_events": []}


class Store:
    """Copies of spans, those that nobody merged among them; each statement is answered as its end says."""

    def __init__(self, *copies: Row) -> None:
        self.copies = list(copies)
        self.likely: Callable[[Row], bool] = lambda row: bool(row["fits"])
        self.arriving: list[Row] = []
        """Come after the page was read."""
        self.rows = ScriptedRows(self._answer)
        self.reader = SpanReader(self.rows)

    async def names(self, limit: int = 10, **more: Any) -> list[str]:
        return [span.name for span in await self.reader.page(VISIBLE, SpanFilter(names=["any"]), limit=limit, **more)]

    def _answer(self, sql: str, params: Row) -> Sequence[Row]:
        if "LIMIT {rows" in sql:
            found = [row for row in self.copies if self.likely(row) and params.get("edge_ns", 0) <= row["start_ns"] and _place(row) < _after(params)]
            self.copies += self.arriving
            return sorted(found, key=_place, reverse=True)[: params["rows"]]
        latest: dict[str, Row] = {}
        for row in sorted(self.copies, key=lambda row: (row["end_ns"], row["received_us"], row["start_ns"])):
            if row["trace_id"] + row["span_id"] in params["ids"]:
                latest[row["span_id"]] = row
        return list(latest.values())


def _place(row: Row) -> tuple[int, str, str]:
    return row["start_ns"], row["trace_id"], row["span_id"]


def _after(params: Row) -> tuple[int, str, str]:
    return params.get("after_ns", 2**63), params.get("after_trace", ""), params.get("after_span", "")


async def test_of_copies_at_one_place_the_one_that_ended_last_is_shown() -> None:
    store = Store(copy("a", 5, end=7, name="early"), copy("a", 5, end=9, name="late"), copy("a", 5, name="running"), copy("b", 4, name="other"))
    assert await store.names() == ["late", "other"]


async def test_a_copy_that_the_page_cut_off_is_shown_all_the_same() -> None:
    running = [copy("a", 5, received=at, name="running") for at in range(40)]
    store = Store(*running, copy("a", 5, end=9, name="ended"), copy("b", 4, name="other"))
    assert await store.names(limit=1) == ["ended"]
    assert await store.names(limit=2) == ["ended", "other"]


async def test_a_span_is_shown_where_the_copy_that_counts_has_it() -> None:
    store = Store(copy("a", 9, end=10, name="moved"), copy("b", 7, name="other"), copy("a", 5, end=12, name="counts"))
    assert await store.names() == ["other", "counts"]
    store.copies[2] = copy("a", 5, end=12, name="counts", fits=False)
    assert await store.names() == ["other"], "the copy that counts does not fit"


async def test_of_equal_copies_at_two_places_one_is_shown() -> None:
    assert await Store(copy("a", 9, end=12, name="late"), copy("a", 5, end=12, name="early")).names() == ["late"]


async def test_a_copy_that_comes_meanwhile_does_not_hide_the_span() -> None:
    store = Store(copy("a", 5, name="running"), copy("b", 4, name="other"))
    store.arriving = [copy("a", 5, end=9, name="ended")]
    assert await store.names() == ["ended", "other"]


async def test_what_only_seemed_to_fit_is_left_out() -> None:
    store = Store(copy("a", 5, name="seems", fits=False), copy("b", 4, name="fits"))
    store.likely = lambda row: True
    assert await store.names() == ["fits"]


async def test_nothing_is_sought_behind_the_edge_once_the_page_is_full() -> None:
    store = Store(*(copy(f"{at:02}", at, name=str(at)) for at in range(30)))

    class Since(NewestSpans):
        def since_ns(self, visible: Conditions, *, rare: bool) -> int | None:
            assert rare
            return 20

    newest = Since(store.rows, HandClock())
    assert await store.names(limit=8, newest=newest) == [str(at) for at in range(29, 21, -1)]
    assert len(store.rows.asked) == 2, "a page and its copies"
    assert await store.names(limit=28, newest=newest) == [str(at) for at in range(29, 1, -1)]

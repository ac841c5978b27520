"""Traces of the LLM surface over HTTP: lists, deletion, moves between projects, and traces that are no trees."""

from random import Random
from typing import Any

import pytest

from schemas.global_id import global_id, number_of, trace_number
from tests.flow.llm_client import SECOND, LlmClient, new_trace, now, otlp_span


async def test_a_trace_and_its_spans(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now()
    counts: dict[str, Any] = {"llm__token_count__prompt": 10, "llm__token_count__completion": 4}
    await llm.send(
        project,
        otlp_span(trace, "agent", start=start, seconds=5, span_id="a1" * 8, openinference__span__kind="AGENT", **counts),
        otlp_span(trace, "call", start=start + SECOND, seconds=2, parent="a1" * 8, openinference__span__kind="LLM", **counts),
    )
    (listed,) = await llm.listed(f"/projects/{project}/traces", include_spans=True)
    assert listed["id"] == global_id("Trace", trace_number(trace)) and listed["trace_id"] == trace and number_of(listed["project_id"], "Project")
    assert [(span["name"], span["parent_id"], span["span_kind"]) for span in listed["spans"]] == [("agent", None, "AGENT"), ("call", "a1" * 8, "LLM")]
    assert (listed["token_count_prompt"], listed["token_count_completion"], listed["token_count_total"]) == (10, 4, 14), "an agent's sum counts nothing twice"
    assert listed["start_time"] == listed["spans"][0]["start_time"] and listed["end_time"] == listed["spans"][0]["end_time"]
    assert (await llm.listed(f"/projects/{project}/traces"))[0]["spans"] is None


async def test_order_and_filters(llm: LlmClient, project: str) -> None:
    start = now()
    traces = {name: new_trace() for name in ("slow", "failed", "quick", "talk")}
    names = {trace: name for name, trace in traces.items()}
    await llm.send(
        project,
        otlp_span(traces["slow"], "x", start=start - 40 * SECOND, seconds=9),
        otlp_span(traces["failed"], "x", start=start - 30 * SECOND, seconds=3),
        otlp_span(traces["failed"], "y", start=start - 29 * SECOND, seconds=1, status=2),
        otlp_span(traces["quick"], "x", start=start - 20 * SECOND, seconds=1),
        otlp_span(traces["talk"], "x", start=start - 10 * SECOND, seconds=5, session__id=f"talk {project}"),
        # A late span of the oldest trace does not make it a new one.
        otlp_span(traces["slow"], "z", start=start - 35 * SECOND, seconds=2),
    )

    async def found(**params: object) -> list[str]:
        return [names[trace["trace_id"]] for trace in await llm.listed(f"/projects/{project}/traces", **params)]

    assert await found() == ["talk", "quick", "failed", "slow"] == await found(limit=1) == (await found(order="asc", limit=3))[::-1]
    assert await found(sort="latency_ms") == ["slow", "talk", "failed", "quick"] == await found(sort="latency_ms", limit=1)
    assert await found(sort="latency_ms", order="asc", limit=2) == ["quick", "failed", "talk", "slow"]
    assert await found(error="true") == ["failed"] and await found(error="false") == ["talk", "quick", "slow"]
    assert await found(min_latency_ms=3_000) == ["talk", "failed", "slow"] and await found(min_latency_ms=3_000, max_latency_ms=5_000) == ["talk", "failed"]
    assert await found(session_identifier=f"talk {project}") == ["talk"] and await found(session_identifier="another") == []
    times = {names[trace["trace_id"]]: trace["start_time"] for trace in await llm.listed(f"/projects/{project}/traces")}
    assert (
        await found(start_time=times["failed"], end_time=times["talk"])
        == ["quick", "failed"]
        == await found(start_time=times["failed"], end_time=times["talk"], limit=1)
    )
    for params in ({"cursor": "nonsense"}, {"cursor": "WyJhIiwxLCJiIl0"}):
        answer = await llm.get(f"/projects/{project}/traces", **params)
        assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/plain")
    for wrong in ({"sort": "name"}, {"order": "up"}, {"min_latency_ms": -1}, {"limit": 0}):
        assert (await llm.get(f"/projects/{project}/traces", **wrong)).json()["detail"][0]["loc"][0] == "query"
    assert (await llm.get("/projects/nobody/traces")).status_code == 404


async def test_pages_beyond_the_first_window(llm: LlmClient, project: str) -> None:
    """One trace with more spans than a window holds does not hide the others."""
    start, old, new = now(), new_trace(), new_trace()
    await llm.send(project, otlp_span(old, "old", start=start - 60 * SECOND))
    for first in range(0, 21_000, 7_000):
        await llm.send(project, *(otlp_span(new, "new", start=start + at * 1_000) for at in range(first, first + 7_000)))
    assert [trace["trace_id"] for trace in await llm.listed(f"/projects/{project}/traces", limit=1)] == [new, old]
    assert [trace["trace_id"] for trace in await llm.listed(f"/projects/{project}/traces", limit=1, order="asc")] == [old, new]


async def test_the_order_is_that_of_the_first_spans_wherever_roots_are(llm: LlmClient, project: str) -> None:
    """Among more spans than a window holds, so that the list looks for its end among the roots."""
    random, start = Random(7), now()
    begun: dict[str, int] = {}
    spans = []
    for _ in range(5_250):
        trace = new_trace()
        times = [start - random.randrange(60 * SECOND)]
        times += [times[0] + random.randrange(20 * SECOND) for _ in range(3)]
        begun[trace] = min(times)
        rooted = random.random() < 0.7
        root = random.choice(times)
        spans += [otlp_span(trace, "x", start=at, parent="" if rooted and at == root else "ab" * 8) for at in times]
    for first in range(0, len(spans), 7_000):
        await llm.send(project, *spans[first : first + 7_000])
    ordered = sorted(begun, key=lambda trace: (begun[trace], trace))
    for order, wanted in (("asc", ordered), ("desc", ordered[::-1])):
        page = (await llm.get(f"/projects/{project}/traces", order=order, limit=20)).json()
        more = (await llm.get(f"/projects/{project}/traces", order=order, limit=20, cursor=page["next_cursor"])).json()
        assert [trace["trace_id"] for trace in page["data"] + more["data"]] == wanted[:40]


async def test_cycles_and_orphans(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now()
    await llm.send(
        project,
        otlp_span(trace, "a", start=start, span_id="0a" * 8, parent="0b" * 8),
        otlp_span(trace, "b", start=start + 1000, span_id="0b" * 8, parent="0a" * 8),
        otlp_span(trace, "self", start=start + 2000, span_id="0c" * 8, parent="0c" * 8),
        otlp_span(trace, "orphan", start=start + 3000, parent="ff" * 8),
    )
    (listed,) = await llm.listed(f"/projects/{project}/traces", include_spans=True)
    assert [span["name"] for span in listed["spans"]] == ["a", "b", "self", "orphan"]
    assert await llm.names(project, parent_id="null") == [] and await llm.names(project, parent_id="0c" * 8) == ["self"]
    assert (await llm.http.delete(f"/traces/{trace}")).status_code == 204
    assert await llm.listed(f"/projects/{project}/traces") == []


@pytest.mark.parametrize("by_id", [True, False])
async def test_delete_is_not_undone(llm: LlmClient, project: str, by_id: bool) -> None:
    trace, kept, start = new_trace(), new_trace(), now()
    span = otlp_span(trace, "gone", start=start)
    await llm.send(project, span, otlp_span(kept, "kept", start=start))
    assert len(await llm.names(project)) == 2
    identifier = global_id("Trace", trace_number(trace)) if by_id else trace.upper()
    assert (await llm.http.delete(f"/traces/{identifier}")).status_code == 204
    assert await llm.names(project) == ["kept"]
    await llm.send(project, span, otlp_span(trace, "late", start=start + SECOND))
    assert await llm.names(project) == ["kept"] and [each["trace_id"] for each in await llm.listed(f"/projects/{project}/traces")] == [kept]
    for gone in (identifier, new_trace(), "nonsense"):
        answer = await llm.http.delete(f"/traces/{gone}")
        assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/plain")


async def test_transfer(llm: LlmClient, project: str) -> None:
    one, two, other, start = new_trace(), new_trace(), new_trace(), now()
    there, source = f"{project} there", f"{project} source"
    await llm.send(project, otlp_span(one, "one", start=start, session__id=project), otlp_span(two, "two", start=start - 1000))
    await llm.send(source, otlp_span(other, "other", start=start))
    assert await llm.names(project) == ["one", "two"] and await llm.names(source) == ["other"]
    made = (await llm.http.post("/projects", json={"name": there})).json()["data"]

    async def move(*traces: str, to: str = there) -> tuple[int, str]:
        answer = await llm.http.post("/traces/transfer", json={"trace_identifiers": list(traces), "destination_project_identifier": to})
        return answer.status_code, answer.text

    assert (await move(one, to="no such project"))[0] == 404 and (await move(one, new_trace()))[0] == 404
    assert (await move(one, other))[0] == 422 and (await move())[0] == 422
    assert await llm.names(project) == ["one", "two"], "nothing was moved"
    answer = await llm.http.post(
        "/traces/transfer", json={"trace_identifiers": [global_id("Trace", trace_number(one)), one], "destination_project_identifier": made["id"]}
    )
    assert answer.status_code == 200 and answer.json() == {"data": {"transferred_trace_count": 1, "destination_project_id": made["id"]}}
    assert (
        await llm.names(project) == ["two"]
        and await llm.names(there) == ["one"]
        and [t["trace_id"] for t in await llm.listed(f"/projects/{there}/traces")] == [one]
    )
    await llm.send(project, otlp_span(one, "late", start=start + 1000))
    assert await llm.names(there) == ["late", "one"], "later spans follow their trace"
    (session,) = await llm.listed(f"/projects/{there}/sessions")
    assert session["session_id"] == project and session["project_id"] == made["id"] and await llm.listed(f"/projects/{project}/sessions") == []
    assert (await llm.get(f"/sessions/{project}")).json()["data"]["project_id"] == made["id"]
    assert (await move(one, two))[0] == 422, "they are in two projects now"
    assert (await move(one, to=project))[0] == 200
    assert await llm.names(project) == ["late", "one", "two"] and await llm.names(there) == []

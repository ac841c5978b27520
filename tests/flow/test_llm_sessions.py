"""Sessions of the LLM surface over HTTP."""

from random import Random
from typing import Any
from urllib.parse import quote

import pytest

from schemas.global_id import global_id, number_of, text_number
from tests.flow.llm_client import SECOND, LlmClient, new_trace, now, otlp_span


async def test_list_and_get(llm: LlmClient, project: str) -> None:
    start, first, second, other = now() - 60 * SECOND, new_trace(), new_trace(), new_trace()
    session = f"chat/é {project}"
    counts: dict[str, Any] = {"openinference__span__kind": "LLM", "llm__token_count__prompt": 3, "llm__token_count__completion": 2}
    await llm.send(
        project,
        otlp_span(first, "turn 1", start=start, seconds=2, session__id=session),
        otlp_span(first, "call", start=start + SECOND, seconds=4, **counts),
        otlp_span(second, "turn 2", start=start + 10 * SECOND, seconds=1, gen_ai__conversation__id=session, **counts),
        otlp_span(other, "turn 1", start=start + 5 * SECOND, session__id=f"other {project}"),
        otlp_span(new_trace(), "no session", start=start),
    )
    listed = await llm.listed(f"/projects/{project}/sessions")
    assert [each["session_id"] for each in listed] == [session, f"other {project}"]
    assert (
        await llm.listed(f"/projects/{project}/sessions", limit=1) == listed == (await llm.listed(f"/projects/{project}/sessions", limit=1, order="desc"))[::-1]
    )
    found = listed[0]
    assert found["id"] == global_id("ProjectSession", text_number(session)) and number_of(found["project_id"], "Project")
    assert [trace["trace_id"] for trace in found["traces"]] == [first, second]
    assert (found["token_count_prompt"], found["token_count_completion"], found["token_count_total"]) == (6, 4, 10)
    assert found["start_time"] == found["traces"][0]["start_time"] and found["end_time"] == found["traces"][1]["end_time"]
    for identifier in (found["id"], quote(session, safe="")):
        answer = await llm.get(f"/sessions/{identifier}")
        assert answer.status_code == 200 and answer.json() == {"data": found}
    for unknown in ("nobody", global_id("ProjectSession", text_number("nobody"))):
        answer = await llm.get(f"/sessions/{unknown}")
        assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/plain")
    assert (await llm.get("/projects/nobody/sessions")).status_code == 404
    assert (await llm.get(f"/projects/{project}/sessions", cursor="nonsense")).status_code == 422


async def test_pages_are_ordered_by_the_first_start_whatever_came_when(llm: LlmClient, project: str) -> None:
    shuffled, begin = Random(3), now() - 3_600 * SECOND
    starts: dict[str, int] = {}
    for _ in range(6):
        spans = []
        for number in shuffled.sample(range(30), 24):
            session, start = f"{number} {project}", begin + shuffled.randrange(30) * 100 * SECOND  # often at one instant
            starts[session] = min(start, starts.get(session, start))
            spans.append(otlp_span(new_trace(), "turn", start=start, session__id=session))
        await llm.send(project, *spans)
    expected = sorted(starts, key=lambda session: (starts[session], session))
    for limit in (2, 7, 100):
        for order in ("asc", "desc"):
            listed = await llm.listed(f"/projects/{project}/sessions", limit=limit, order=order)
            assert [each["session_id"] for each in listed] == (expected if order == "asc" else expected[::-1]), (limit, order)


@pytest.mark.parametrize("by_id", [True, False])
async def test_delete_is_not_undone(llm: LlmClient, project: str, by_id: bool) -> None:
    trace, start, session = new_trace(), now(), f"gone {project}"
    span = otlp_span(trace, "turn", start=start, session__id=session)
    await llm.send(
        project, span, otlp_span(trace, "inner", start=start + 1000), otlp_span(new_trace(), "kept", start=start - SECOND, session__id=f"kept {project}")
    )
    assert len(await llm.listed(f"/projects/{project}/sessions")) == 2
    identifier = global_id("ProjectSession", text_number(session)) if by_id else quote(session)
    assert (await llm.http.delete(f"/sessions/{identifier}")).status_code == 204
    await llm.send(project, span)
    assert await llm.names(project) == ["kept"] and [each["session_id"] for each in await llm.listed(f"/projects/{project}/sessions")] == [f"kept {project}"]
    assert (await llm.http.delete(f"/sessions/{identifier}")).status_code == 404


async def test_delete_several(llm: LlmClient, project: str) -> None:
    sessions = [f"{at} {project}" for at in range(3)]
    await llm.send(project, *(otlp_span(new_trace(), session, start=now(), session__id=session) for session in sessions))
    assert len(await llm.listed(f"/projects/{project}/sessions")) == 3

    async def delete(*identifiers: str) -> int:
        return (await llm.http.post("/sessions/delete", json={"session_identifiers": list(identifiers)})).status_code

    ids = [global_id("ProjectSession", text_number(session)) for session in sessions]
    assert await delete() == 422 and await delete(sessions[0], ids[1]) == 422
    assert len(await llm.listed(f"/projects/{project}/sessions")) == 3
    assert await delete(sessions[0], "nobody") == 204 and await delete(ids[1], ids[0]) == 204
    assert [each["session_id"] for each in await llm.listed(f"/projects/{project}/sessions")] == [sessions[2]]

"""Spans of the LLM surface over HTTP: lists with every filter, what is shown, creation and deletion."""

from typing import Any

from schemas.global_id import global_id, span_number
from tests.flow.llm_client import SECOND, LlmClient, new_trace, now, otlp_span, rest_span, span_ids


async def test_filters(llm: LlmClient, project: str) -> None:
    first, second, start = new_trace(), new_trace(), now()
    await llm.send(
        project,
        otlp_span(first, "root", start=start, span_id="a1" * 8, openinference__span__kind="AGENT"),
        otlp_span(first, "call", start=start + SECOND, parent="a1" * 8, span_id="b1" * 8, status=2, openinference__span__kind="llm"),
        otlp_span(second, "root", start=start + 2 * SECOND, span_id="a1" * 8),
    )
    assert await llm.names(project) == ["root", "call", "root"]
    assert await llm.names(project, limit=1) == ["root", "call", "root"]
    assert await llm.names(project, trace_id=first.upper()) == ["call", "root"] == await llm.names(project, trace_id=first, limit=1)
    assert await llm.names(project, trace_id=[first, second], name="root") == ["root", "root"]
    assert await llm.names(project, span_id=["b1" * 8, "ff" * 8]) == ["call"]
    assert await llm.names(project, name=["call", "other"]) == ["call"]
    assert await llm.names(project, span_kind=["Llm", "AGENT"]) == ["call", "root"]
    assert await llm.names(project, span_kind="unknown") == ["root"]
    assert await llm.names(project, status_code="error") == ["call"]
    assert await llm.names(project, status_code=["UNSET", "ok"]) == ["root", "root"]
    assert await llm.names(project, parent_id="null") == ["root", "root"]
    assert await llm.names(project, parent_id="A1" * 8) == ["call"]
    times = [span["start_time"] for span in await llm.listed(f"/projects/{project}/spans")]
    assert await llm.names(project, start_time=times[1], end_time=times[0]) == ["call"], "the start is included, the end is not"


async def test_a_trace_of_thousands_of_spans_comes_in_pages(llm: LlmClient, project: str) -> None:
    trace, begin = new_trace(), now() - 60 * SECOND
    names = [f"{number:04}" for number in range(2_300)]
    await llm.send(project, *(otlp_span(trace, name, start=begin + int(name) * 1_000) for name in names))
    for limit in (900, 1_000):
        assert await llm.names(project, trace_id=trace, limit=limit) == names[::-1]
    assert len(await llm.names(project, trace_id=trace, limit=900, name=names[:5])) == 5


async def test_attribute_filters(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now()
    carried: list[dict[str, Any]] = [
        {"text": "gold", "number": 5, "share": 0.5, "yes": True, "quoted": "5"},
        {"metadata": '{"tier": "gold", "build": 7, "deep": {"er": "x"}, "on": true}', "tool.parameters": '{"city": "Oslo"}', "number": 5.0},
        {"user": {"id": "u:1", "age": 40}},
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "aws.bedrock", "gen_ai.request.model": "m-1", "gen_ai.usage.input_tokens": 12},
        {"llm.model_name": "m-2", "gen_ai.request.model": "m-1"},
    ]
    await llm.send(project, *(otlp_span(trace, f"s{at}", start=start - at * SECOND, **attributes) for at, attributes in enumerate(carried)))

    async def found(*filters: str) -> list[str]:
        return await llm.names(project, attribute=list(filters))

    assert await found("text:gold") == ["s0"] == await found('text:"gold"')
    assert await found("number:5") == ["s0", "s1"] == await found("number:5.0"), "numbers are equal when their values are"
    assert await found("share:0.5") == ["s0"] and await found("yes:true") == ["s0"]
    assert await found("quoted:5") == [] and await found('quoted:"5"') == ["s0"]
    assert await found("yes:1") == [] and await found('yes:"true"') == []
    assert await found("metadata.tier:gold") == ["s1"] == await found("metadata.build:7")
    assert await found("metadata.deep.er:x", "metadata.on:true") == ["s1"] == await found("tool.parameters.city:Oslo")
    assert await found("metadata.build:8") == [] and await found("metadata.on:false") == [] and await found('metadata.build:"7"') == []
    assert await found("user.id:u:1") == ["s2"] == await found("user.age:40")
    assert await found("llm.model_name:m-1") == ["s3"], "a span's own OpenInference attribute wins"
    assert await found("llm.provider:aws", "llm.token_count.prompt:12", "openinference.span.kind:LLM") == ["s3"]
    assert await found("gen_ai.request.model:m-1") == ["s3", "s4"]
    assert await found("missing:1") == [] and await found("text:gold", "number:6") == []
    for wrong in ("text", ":x", "text:", "text:null", "text:[1]", 'text:{"a":1}'):
        refused = await llm.get(f"/projects/{project}/spans", attribute=wrong)
        assert refused.status_code == 422 and refused.headers["content-type"].startswith("text/plain"), wrong


async def test_many_spans_with_a_list_of_which_few_hold_the_member(llm: LlmClient, project: str) -> None:
    """Of a key-value list the small column knows the name alone."""
    trace, start = new_trace(), now() - 3_600 * SECOND
    spans = [otlp_span(trace, f"s{at}", start=start + at * SECOND, app={"topic": "rare" if at % 50 == 0 else "common"}) for at in range(300)]
    await llm.send(project, *spans)
    assert await llm.names(project, attribute="app.topic:rare", limit=4) == [f"s{at}" for at in range(250, -1, -50)]
    assert len(await llm.names(project, attribute="app.topic:common")) == 294 and await llm.names(project, attribute="app.topic:none") == []


async def test_words(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now()
    await llm.send(
        project,
        otlp_span(trace, "Refund agent", start=start, input__value="please give back order 77"),
        otlp_span(trace, "weather", start=start - 1000, output__value="Rain in Oslo", note="order"),
    )

    async def found(q: str, **params: Any) -> list[str]:
        return [span["name"] for span in await llm.listed(f"/projects/{project}/spans/search", q=q, **params)]

    assert await found("ORDER") == ["Refund agent", "weather"] == await found("order", limit=1)
    assert await found("refund order") == ["Refund agent"] and await found("oslo order") == ["weather"] and await found("snow") == []
    assert await found("order", name="weather") == ["weather"]
    assert (await llm.get(f"/projects/{project}/spans/search", q=" ")).status_code == 422


async def test_wrong_requests(llm: LlmClient, project: str) -> None:
    await llm.send(project, otlp_span(new_trace(), "x", start=now()))
    unknown = await llm.get("/projects/never heard of/spans")
    assert unknown.status_code == 404 and unknown.headers["content-type"].startswith("text/plain") and "never heard of" in unknown.text
    for params in ({"cursor": "nonsense"}, {"status_code": "BAD"}):
        answer = await llm.get(f"/projects/{project}/spans", **params)
        assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/plain")
    for limit in (0, 1001):
        assert (await llm.get(f"/projects/{project}/spans", limit=limit)).json()["detail"][0]["loc"] == ["query", "limit"]


async def test_a_project_by_its_id(llm: LlmClient, project: str) -> None:
    await llm.send(project, otlp_span(new_trace(), "x", start=now()))
    assert await llm.names(project) == ["x"]
    found = (await llm.get(f"/projects/{project}")).json()["data"]
    assert await llm.names(found["id"]) == ["x"]


async def test_what_is_shown(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now()
    messages = '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]'
    sent = otlp_span(
        trace, "chat", start=start, span_id="c1" * 8, status=1, metadata='{"tier": "gold"}', input__value='{"a": 1}', tags=["a", "b"],
        gen_ai__operation__name="chat", gen_ai__usage__input_tokens=3, gen_ai__usage__output_tokens=4, gen_ai__conversation__id="talk", gen_ai__input__messages=messages,
    )  # fmt: skip
    sent["events"] = [{"name": "exception", "timeUnixNano": str(start + 1_000), "attributes": [{"key": "n", "value": {"intValue": "1"}}]}]
    await llm.send(project, sent)
    (span,) = await llm.listed(f"/projects/{project}/spans")
    assert span["id"] == global_id("Span", span_number(trace, "c1" * 8)) and span["context"] == {"trace_id": trace, "span_id": "c1" * 8}
    assert (span["span_kind"], span["status_code"], span["parent_id"]) == ("LLM", "OK", None)
    shown = span["attributes"]
    assert shown["metadata.tier"] == "gold" and "metadata" not in shown and shown["input.value"] == '{"a": 1}' and shown["tags"] == ["a", "b"]
    assert (shown["llm.token_count.prompt"], shown["llm.token_count.total"], shown["gen_ai.usage.input_tokens"]) == (3, 7, 3)
    assert shown["llm.input_messages.0.message.content"] == "hi" and shown["gen_ai.input.messages"] == messages and shown["session.id"] == "talk"
    assert span["events"][0]["attributes"] == {"n": 1}
    (otlp,) = await llm.listed(f"/projects/{project}/spans/otlpv1", attribute="metadata.tier:gold")
    assert (otlp["trace_id"], otlp["span_id"], otlp["parent_span_id"], otlp["start_time_unix_nano"]) == (trace, "c1" * 8, None, start)
    assert {"key": "llm.token_count.total", "value": {"int_value": 7}} in otlp["attributes"] and otlp["status"] == {"code": 1, "message": None}
    assert otlp["events"][0]["time_unix_nano"] == start + 1_000


async def test_of_copies_counts_the_one_that_ended_last(llm: LlmClient, project: str) -> None:
    """Also when their starts differ, by whatever filter one asks, and in whatever order they came."""
    trace, start = new_trace(), now() - 3_600 * SECOND
    for at, (name, begin, seconds) in enumerate(
        [("late", start, 9.0), ("early", start, 2.0), ("moved", start + 180 * SECOND, 60.0), ("moved early", start - 180 * SECOND, 1.0)]
    ):
        await llm.send(project, otlp_span(trace, name, start=begin, seconds=seconds, span_id="d1" * 8, copy=at))
    assert await llm.names(project) == ["moved"] == await llm.names(project, trace_id=trace) == await llm.names(project, limit=1)
    assert await llm.names(project, name="late") == [] == await llm.names(project, attribute="copy:0"), "a copy that does not count matches nothing"
    (listed,) = await llm.listed(f"/projects/{project}/traces", include_spans=True)
    assert [span["name"] for span in listed["spans"]] == ["moved"]
    await llm.send(project, otlp_span(trace, "equal end", start=start + 180 * SECOND, seconds=60.0, span_id="d1" * 8))
    assert await llm.names(project) == ["equal end"], "of equal ends the one received last"


async def test_a_running_span_is_shown_and_replaced(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now()
    await llm.send(project, otlp_span(trace, "working", start=start, seconds=None, span_id="e1" * 8))
    (running,) = await llm.listed(f"/projects/{project}/spans")
    assert (running["name"], running["end_time"], running["status_code"]) == ("working", None, "UNSET")
    (trace_running,) = await llm.listed(f"/projects/{project}/traces", include_spans=True)
    assert trace_running["end_time"] == trace_running["start_time"] and trace_running["spans"][0]["end_time"] is None
    await llm.send(project, otlp_span(trace, "done", start=start, seconds=5, span_id="e1" * 8))
    await llm.send(project, otlp_span(trace, "working", start=start, seconds=None, span_id="e1" * 8))
    (ended,) = await llm.listed(f"/projects/{project}/spans")
    assert ended["name"] == "done" and ended["end_time"] > ended["start_time"], "a start that comes late changes nothing"


async def test_create(llm: LlmClient, project: str) -> None:
    trace = new_trace()
    sent = rest_span(
        trace, "made", parent_id="ab" * 8, status_message="fine", attributes={"metadata": '{"a": 1}', "deep": {"er": [1]}, "n": 2},
        events=[{"name": "e", "timestamp": "2026-01-02T03:04:05.5+00:00", "attributes": {"k": "v"}}],
    )  # fmt: skip
    answer = await llm.http.post(f"/projects/{project}/spans", json={"data": [sent, rest_span(trace, "second", span_kind="unknown")]})
    assert answer.status_code == 202 and answer.json() == {"total_received": 2, "total_queued": 2}
    made = {span["name"]: span for span in await llm.listed(f"/projects/{project}/spans")}
    assert made["made"] == {
        **sent, "id": made["made"]["id"], "attributes": {"metadata": '{"a": 1}', "deep.er": [1], "n": 2, "openinference.span.kind": "LLM"},
        "events": [{"name": "e", "timestamp": "2026-01-02T03:04:05.500000Z", "attributes": {"k": "v"}}],
    }  # fmt: skip
    assert made["second"]["span_kind"] == "UNKNOWN" and made["second"]["attributes"] == {}
    assert await llm.names(project, attribute="metadata.a:1") == [], "the text of created spans is not read"
    back = {**made["made"], "context": {**made["made"]["context"], "trace_id": new_trace()}}
    assert (await llm.http.post(f"/projects/{project} again/spans", json={"data": [back]})).status_code == 202, "what was listed can be created elsewhere"


async def test_create_is_all_or_nothing(llm: LlmClient, project: str) -> None:
    trace = new_trace()
    kept = rest_span(trace, "kept")
    assert (await llm.http.post(f"/projects/{project}/spans", json={"data": [kept]})).status_code == 202
    good, twice, short = rest_span(trace, "good"), rest_span(trace, "twice"), rest_span(trace, "short", span_id="abc")
    zero, deep = rest_span("0" * 32, "zero"), rest_span(trace, "deep", attributes={"a": _nested(200)})
    answer = await llm.http.post(f"/projects/{project} new/spans", json={"data": [good, kept, twice, twice, short, zero, deep]})
    assert answer.status_code == 400 and answer.headers["content-type"].startswith("text/plain")
    refused = answer.json()
    assert (refused["total_received"], refused["total_queued"], refused["total_duplicates"], refused["total_invalid"]) == (7, 0, 2, 3)
    assert [each["span_id"] for each in refused["duplicate_spans"]] == span_ids([kept, twice])
    assert [each["span_id"] for each in refused["invalid_spans"]] == span_ids([short, zero, deep]) and all(each["error"] for each in refused["invalid_spans"])
    assert await llm.names(project) == ["kept"] and (await llm.get(f"/projects/{project} new")).status_code == 404, "nothing was stored, and no project made"
    naive = await llm.http.post(f"/projects/{project}/spans", json={"data": [good, rest_span(trace, "x", start="2026-01-02T03:04:05")]})
    assert naive.status_code == 422 and naive.json()["detail"][0]["loc"] == ["body", "data", 1, "start_time"]
    assert (await llm.http.post(f"/projects/{global_id('Project', 10**9)}/spans", json={"data": [good]})).status_code == 404


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value, 1]
    return value


async def test_delete_is_not_undone(llm: LlmClient, project: str) -> None:
    trace, start = new_trace(), now()
    root, child = otlp_span(trace, "root", start=start, span_id="f1" * 8), otlp_span(trace, "child", start=start + 1000, parent="f1" * 8)
    await llm.send(project, root, child)
    (found,) = await llm.listed(f"/projects/{project}/spans", name="root")
    assert (await llm.http.delete(f"/spans/{found['id']}")).status_code == 204
    assert await llm.names(project) == ["child"], "children stay"
    await llm.send(project, root)
    await llm.send(project, {**root, "endTimeUnixNano": str(start + 90 * SECOND), "startTimeUnixNano": str(start - 90 * SECOND)})
    assert await llm.names(project) == ["child"] == await llm.names(f"{project}", trace_id=trace)
    again = await llm.http.post(f"/projects/{project}/spans", json={"data": [rest_span(trace, "root", span_id="f1" * 8)]})
    assert again.status_code == 400 and "deleted" in again.json()["invalid_spans"][0]["error"]
    assert (await llm.http.delete(f"/spans/{child['spanId'].upper()}")).status_code == 204, "by the id of OpenTelemetry"
    assert await llm.names(project) == []
    for gone in (found["id"], child["spanId"], "nonsense"):
        answer = await llm.http.delete(f"/spans/{gone}")
        assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/plain")


async def test_a_reader_who_waits_for_nothing_sees_no_deleted_span(llm: LlmClient, project: str) -> None:
    """Also when the same list was read a moment before, whatever was deleted: a span, a trace, the project."""
    others = LlmClient(llm.http)
    traces, start = [new_trace() for _ in range(3)], now() - 60 * SECOND
    spans = [otlp_span(trace, f"s{at}", start=start - at * SECOND) for at, trace in enumerate(traces)]
    await llm.send(project, *spans)
    assert await llm.names(project) == ["s0", "s1", "s2"] == await others.names(project)
    assert (await llm.http.delete(f"/spans/{spans[0]['spanId']}")).status_code == 204
    assert await others.names(project) == ["s1", "s2"]
    assert (await llm.http.delete(f"/traces/{traces[1]}")).status_code == 204
    assert await others.names(project) == ["s2"] and len(await others.listed(f"/projects/{project}/traces")) == 1
    assert (await llm.http.delete(f"/projects/{project}")).status_code == 204
    assert (await others.get(f"/projects/{project}/spans")).status_code == 404


async def test_delete_of_an_id_in_two_traces(llm: LlmClient, project: str) -> None:
    span_id = new_trace()[:16]
    await llm.send(project, *(otlp_span(new_trace(), "same id", start=now(), span_id=span_id) for _ in range(2)))
    ids = [span["id"] for span in await llm.listed(f"/projects/{project}/spans")]
    refused = await llm.http.delete(f"/spans/{span_id}")
    assert refused.status_code == 409
    assert all(each in refused.text for each in ids)
    assert (await llm.http.delete(f"/spans/{ids[0]}")).status_code == 204
    assert [span["id"] for span in await llm.listed(f"/projects/{project}/spans")] == ids[1:]

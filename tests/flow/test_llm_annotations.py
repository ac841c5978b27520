"""Annotations of the LLM surface over HTTP: written, listed, replaced and deleted."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from schemas.api_keys import hash_secret
from schemas.global_id import parse
from tests.flow.llm_spans import Sent, send, sent, span_json
from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack
from tests.support import eventually


@pytest.fixture
async def client(live: LiveStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=live.url("llm") + "/v1", headers=live.headers, timeout=20) as client:
        yield client


def said(name: str, **fields: Any) -> dict[str, Any]:
    """An annotation to write."""
    return {"name": name, "annotator_kind": "HUMAN", "result": {"label": "good", "score": 0.5, "explanation": "because"}, **fields}


async def write(client: httpx.AsyncClient, target: str, *annotations: dict[str, Any], sync: bool = True) -> httpx.Response:
    return await client.post(f"/{target}_annotations", params={"sync": "true"} if sync else {}, json={"data": list(annotations)})


async def listed(client: httpx.AsyncClient, project: str, target: str, position: str = "", **params: Any) -> list[dict[str, Any]]:
    """Every annotation over all pages."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await client.get(f"/projects/{project}/{target}_annotations", params=params, headers={"x-millstream-wait-for": position})
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        if answer.json()["next_cursor"] is None:
            return found
        params["cursor"] = answer.json()["next_cursor"]


@needs_catalogue
async def test_llm_span_annotations_create(live: LiveStack, client: httpx.AsyncClient) -> None:
    """llm.span_annotations.create"""
    documented = row("llm.span_annotations.create")
    there = await sent(client, "annotated")
    body = {"data": [{**documented["request"]["data"][0], "span_id": there.span_ids[0].upper()}]}
    for base in (live.url("llm"), live.url("main") + "/llm"):
        answer = await client.post(f"{base}{documented['path']}", params={"sync": "true"}, json=body)
        assert answer.status_code in documented["status_accept"], answer.text
        assert not missing_keys(answer.json(), documented["response_keys"])
    (found,) = await listed(client, "annotated", "span", span_ids=there.span_ids)
    assert found == {
        "id": answer.json()["data"][0]["id"],
        "span_id": there.span_ids[0],
        "name": "text",
        "annotator_kind": "LLM",
        "result": {"label": "text", "score": 1.0, "explanation": "text"},
        "metadata": {"ANY_ADDITIONAL_PROPERTY": "anything"},
        "identifier": "",
        "source": "API",
        "created_at": found["created_at"],
        "updated_at": found["updated_at"],
        "user_id": None,
    }
    assert found["created_at"] < found["updated_at"]
    gone = await write(client, "span", said("a", span_id=there.span_ids[0]), said("a", span_id="0" * 15 + "1"), said("a", span_id="text"))
    assert gone.status_code == 404 and gone.headers["content-type"].startswith("text/plain")
    assert gone.text == "Spans with IDs 0000000000000001, text do not exist."
    assert [each["name"] for each in await listed(client, "annotated", "span", span_ids=there.span_ids)] == ["text"], "a refused request stored a part"
    refused = await client.post(live.url("llm") + documented["path"], json=body, headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401


async def test_the_same_name_and_identifier_replace(client: httpx.AsyncClient) -> None:
    there = await sent(client, "upserts")
    span_id = there.span_ids[0]
    first = await write(client, "span", said("q", span_id=span_id), said("q", span_id=span_id, identifier="b"), said("other", span_id=span_id))
    ids = [each["id"] for each in first.json()["data"]]
    assert len(set(ids)) == 3 and all((named := parse(each)) and named.type == "SpanAnnotation" and named.number < 2**53 for each in ids)
    before = {each["id"]: each for each in await listed(client, "upserts", "span", span_ids=span_id)}
    twice = [said("q", span_id=span_id, result={"label": "bad"}), said("q", span_id=span_id, result={"score": 0}, metadata={"n": 1})]
    again = await write(client, "span", *twice)
    assert [each["id"] for each in again.json()["data"]] == [ids[0], ids[0]]
    after = {each["id"]: each for each in await listed(client, "upserts", "span", span_ids=span_id)}
    assert {key: value for key, value in after.items() if key != ids[0]} == {key: value for key, value in before.items() if key != ids[0]}
    replaced, original = after[ids[0]], before[ids[0]]
    assert replaced["result"] == {"label": None, "score": 0.0, "explanation": None} and replaced["metadata"] == {"n": 1}
    assert replaced["created_at"] == original["created_at"] and replaced["updated_at"] > original["updated_at"]


async def test_an_annotation_may_come_before_its_span(client: httpx.AsyncClient) -> None:
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
    early = await write(client, "span", said("early", span_id=span_id), sync=False)
    assert early.status_code == 200 and early.json() == {"data": []}
    nothing = await client.get("/projects/default/span_annotations", params={"span_ids": span_id})
    assert nothing.status_code == 404 and nothing.text == "None of the supplied span_ids exist in this project"
    late = await send(client, "early", [span_json(trace_id, span_id)])
    position = ",".join((early.headers["x-millstream-position"], late.headers["x-millstream-position"]))
    (found,) = await listed(client, "early", "span", position, span_ids=span_id)
    assert found["name"] == "early"
    elsewhere = await client.get("/projects/default/span_annotations", params={"span_ids": span_id})
    assert elsewhere.status_code == 404, "it is in the project of its span only"


@pytest.mark.parametrize(
    ("target", "kind", "name"),
    [("trace", "TraceAnnotation", "trace_id"), ("session", "ProjectSessionAnnotation", "session_id"), ("span", "SpanAnnotation", "span_id")],
)
async def test_every_target(client: httpx.AsyncClient, target: str, kind: str, name: str) -> None:
    session = f"session/ü {os.urandom(4).hex()}"
    there = await sent(client, "targets", {"session.id": session})
    target_id = {"trace": there.trace_id, "session": session, "span": there.span_ids[0]}[target]
    answer = await write(client, target, said("about", **{name: target_id}))
    (written,) = answer.json()["data"]
    named = parse(written["id"])
    assert named is not None and named.type == kind
    note = await client.post(f"/{target}_notes", json={"data": {name: f" {target_id} ", "note": "  look at this  "}})
    assert note.status_code == 200, note.text
    twice = [await client.post(f"/{target}_notes", json={"data": {name: target_id, "note": text, "identifier": "mine"}}) for text in ("first", "second")]
    assert twice[0].json() == twice[1].json() != note.json()
    found = await listed(client, "targets", target, **{f"{name}s": target_id})
    assert [(each["name"], each["result"]["explanation"]) for each in found] == [("note", "second"), ("note", "look at this"), ("about", "because")]
    assert found[0]["annotator_kind"] == "HUMAN" and found[2]["id"] == written["id"] and found[2][name] == target_id
    without = await listed(client, "targets", target, **{f"{name}s": target_id, "exclude_annotation_names": "note"})
    chosen: dict[str, Any] = {f"{name}s": target_id, "include_annotation_names": ["note", "x"]}
    only = await listed(client, "targets", target, **chosen)
    assert [each["name"] for each in without] == ["about"] and [each["name"] for each in only] == ["note", "note"]
    mine_only: dict[str, Any] = {f"{name}s": target_id, "identifier": "mine"}
    (mine,) = await listed(client, "targets", target, **mine_only)
    assert mine["result"]["explanation"] == "second"
    reserved = await write(client, target, said("note", **{name: target_id}))
    assert reserved.status_code == 400 and f"/v1/{target}_notes" in reserved.text
    missing = await client.post(f"/{target}_notes", json={"data": {name: "f" * 32, "note": "x"}})
    assert missing.status_code == 404 and "f" * 32 in missing.text


async def test_documents(client: httpx.AsyncClient) -> None:
    there = await sent(client, "documents", {f"retrieval.documents.{number}.document.content": "text" for number in range(2)})
    (span_id,) = there.span_ids
    answer = await write(client, "document", *(said("relevance", span_id=span_id, document_position=place) for place in (1, 0)))
    ids = [each["id"] for each in answer.json()["data"]]
    assert all((named := parse(each)) and named.type == "DocumentAnnotation" for each in ids)
    found = await listed(client, "documents", "document", span_ids=span_id)
    assert {each["document_position"]: each["id"] for each in found} == {1: ids[0], 0: ids[1]}
    assert await listed(client, "documents", "span", span_ids=span_id) == []
    beyond = await write(client, "document", said("relevance", span_id=span_id, document_position=2))
    assert beyond.status_code == 422 and "out of bounds" in beyond.text
    negative = await write(client, "document", said("relevance", span_id=span_id, document_position=-1))
    assert negative.status_code == 422 and negative.json()["detail"][0]["loc"] == ["body", "data", 0, "document_position"]


async def test_pages_hold_every_annotation_once(client: httpx.AsyncClient) -> None:
    there = await sent(client, "pages", *([{}] * 3))
    names = [f"n{number:02}" for number in range(7)]
    await write(client, "span", *(said(name, span_id=span_id) for name in names for span_id in there.span_ids))
    found = await listed(client, "pages", "span", span_ids=there.span_ids, limit=4)
    assert sorted((each["span_id"], each["name"]) for each in found) == sorted((span_id, name) for span_id in there.span_ids for name in names)
    assert len({each["id"] for each in found}) == len(found)


async def test_deleting(client: httpx.AsyncClient) -> None:
    there = await sent(client, "deletes", {}, {})
    first, second = there.span_ids
    await write(client, "span", said("a", span_id=first, identifier="x"), said("b", span_id=first), said("a", span_id=second, annotator_kind="CODE"))
    path = "/projects/deletes/span_annotations"
    for params, text in (({}, "delete_all=true"), ({"name": "a", "start_time": "2020-01-01T00:00:00Z"}, "delete_all=true")):
        unbounded = await client.delete(path, params=params)
        assert unbounded.status_code == 422 and text in unbounded.text and unbounded.headers["content-type"].startswith("text/plain")
    backwards = await client.delete(path, params={"start_time": "2021-01-01T00:00:00Z", "end_time": "2020-01-01T00:00:00Z"})
    assert backwards.status_code == 422

    async def left() -> set[tuple[str, str]]:
        return {(each["span_id"], each["name"]) for each in await listed(client, "deletes", "span", span_ids=there.span_ids)}

    everything = {(first, "a"), (first, "b"), (second, "a")}
    assert (await client.delete(path, params={"start_time": "2020-01-01T00:00:00", "end_time": "2020-01-02T00:00:00"})).status_code == 204
    assert await left() == everything
    assert (await client.delete(path, params={"delete_all": "true", "name": "a", "annotator_kind": "CODE"})).status_code == 204
    assert await left() == everything - {(second, "a")}
    assert (await client.delete(path, params={"delete_all": "true", "identifier": "x"})).status_code == 204
    assert await left() == {(first, "b")}
    assert (await client.delete(path, params={"start_time": "2020-01-01T00:00:00Z", "end_time": "2100-01-01T00:00:00Z"})).status_code == 204
    assert await left() == set() and (await client.delete(path, params={"delete_all": "true"})).status_code == 204
    again = await write(client, "span", said("b", span_id=first))
    assert again.status_code == 200 and await left() == {(first, "b")}
    assert (await client.delete("/projects/no such project/span_annotations", params={"delete_all": "true"})).status_code == 404


async def test_annotations_of_what_was_deleted_are_gone(client: httpx.AsyncClient) -> None:
    there = await sent(client, "short lived")
    answer = await write(client, "span", said("a", span_id=there.span_ids[0]))
    assert answer.status_code == 200
    assert (await client.delete("/projects/short lived")).status_code == 204
    gone = await write(client, "span", said("a", span_id=there.span_ids[0]))
    assert gone.status_code == 404, "the span is deleted, and waiting does not bring it back"
    await sent(client, "short lived")
    unseen = await client.get("/projects/short lived/span_annotations", params={"span_ids": there.span_ids[0]})
    assert unseen.status_code == 404


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"result": {}}, ["result"]),
        ({"result": {"label": "", "explanation": ""}}, ["result"]),
        ({"result": None}, ["result"]),
        ({"result": {"score": "many"}}, ["result", "score"]),
        ({"annotator_kind": "ROBOT"}, ["annotator_kind"]),
        ({"name": ""}, ["name"]),
        ({"span_id": "xyz"}, ["span_id"]),
        ({"span_id": None}, ["span_id"]),
        ({"metadata": [1]}, ["metadata"]),
        ({"metadata": {"big": 2**70}}, ["metadata"]),
        ({"identifier": "x" * 1_001}, ["identifier"]),
    ],
)
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, change: dict[str, Any], place: list[str]) -> None:
    """llm.errors.422"""
    span_id = os.urandom(8).hex()
    answer = await write(client, "span", said("fine", span_id=span_id), {**said("wrong", span_id=span_id), **change}, sync=False)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == ["body", "data", 1, *place]
    assert answer.json()["detail"][0]["msg"] and answer.json()["detail"][0]["type"]


async def test_bad_bodies(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    deep = b'{"data":[{"metadata":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}]}"
    lone = b'{"data":[{"name":"\\ud800","annotator_kind":"CODE","result":{"label":"a"},"span_id":"00f067aa0ba902b7"}]}'
    nan = b'{"data":[{"name":"a","annotator_kind":"CODE","result":{"score":NaN},"span_id":"00f067aa0ba902b7"}]}'
    for body in (b"", b"{", b"[]", b"\xff", deep, lone, nan):
        answer = await client.post("/span_annotations", content=body, headers=headers)
        assert answer.status_code in (400, 422), (body[:50], answer.status_code, answer.text)
    empty = await client.post("/span_annotations", json={"data": []}, params={"sync": "true"})
    assert empty.status_code == 200 and empty.json() == {"data": []}


async def test_bad_lists(client: httpx.AsyncClient) -> None:
    there = await sent(client, "lists")
    path = "/projects/lists/span_annotations"
    seen = await client.get("/projects/lists/spans", headers={"x-millstream-wait-for": there.position})
    assert seen.status_code == 200, seen.text
    cases: list[dict[str, Any]] = [{}, {"span_ids": ["a"] * 1_001}, {"span_ids": "a", "cursor": "nonsense"}, {"span_ids": "a", "cursor": "W10"}]
    for params in cases:
        answer = await client.get(path, params=params)
        assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/plain"), (params, answer.text)
    wrong: list[dict[str, Any]] = [{"span_ids": "a", "limit": 0}, {"span_ids": "a", "limit": 10_001}, {"identifier": ""}]
    for params in wrong:
        assert (await client.get(path, params=params)).json()["detail"][0]["loc"][0] == "query"
    assert (await client.get("/projects/nowhere/span_annotations", params={"span_ids": "a"})).status_code == 404


def _feedback(scope: str, index: int, term: str = "annotation", **fields: Any) -> dict[str, Any]:
    return {f"{scope}{term}s.{index}.{term}.{name}": value for name, value in fields.items()}


async def test_feedback_inside_spans(client: httpx.AsyncClient) -> None:
    session = os.urandom(4).hex()
    attributes = {
        "session.id": session,
        **_feedback("", 0, name="correctness", score=1, label="right", annotator_kind="LLM", identifier="judge-v2", metadata='{"rubric": 2}'),
        **_feedback("", 0, "evaluation", name="tone", explanation="polite", annotator_kind="CUSTOM"),
        **_feedback("trace.", 0, name="quality", score=0.25, annotator_kind="HUMAN"),
        **_feedback("session.", 0, name="coherence", label="coherent"),
    }
    there = await sent(client, "inside", attributes)
    (span_id,) = there.span_ids
    found = {each["name"]: each for each in await listed(client, "inside", "span", there.position, span_ids=span_id)}
    assert found.keys() == {"correctness", "tone"} and {each["source"] for each in found.values()} == {"SPAN"}
    right = found["correctness"]
    assert right["result"] == {"label": "right", "score": 1.0, "explanation": None} and right["metadata"] == {"rubric": 2}
    assert (right["annotator_kind"], right["identifier"]) == ("LLM", "judge-v2")
    assert found["tone"]["annotator_kind"] == "CODE" and found["tone"]["metadata"] == {"annotator_kind": "CUSTOM"}
    (quality,) = await listed(client, "inside", "trace", trace_ids=there.trace_id)
    (coherence,) = await listed(client, "inside", "session", session_ids=session)
    assert quality["result"]["score"] == 0.25 and coherence["result"]["label"] == "coherent"


async def test_feedback_is_stored_once_and_stays_corrected(client: httpx.AsyncClient) -> None:
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
    span = span_json(trace_id, span_id, _feedback("", 0, name="correctness", label="right"))
    first = (await send(client, "once", [span])).headers["x-millstream-position"]
    (before,) = await listed(client, "once", "span", first, span_ids=span_id)
    second = (await send(client, "once", [span])).headers["x-millstream-position"]
    assert await listed(client, "once", "span", second, span_ids=span_id) == [before], "the same span again changes nothing"
    corrected = await write(client, "span", said("correctness", span_id=span_id, result={"label": "wrong"}))
    assert corrected.json()["data"] == [{"id": before["id"]}]
    third = (await send(client, "once", [span])).headers["x-millstream-position"]
    (after,) = await listed(client, "once", "span", third, span_ids=span_id)
    assert after["result"]["label"] == "wrong" and after["source"] == "API" and after["created_at"] == before["created_at"]


async def test_spans_with_equal_ids_keep_their_own_feedback(client: httpx.AsyncClient) -> None:
    span_id = os.urandom(8).hex()
    spans = [await sent(client, f"twin {number}", _feedback("", 0, name="n", score=number), span_ids=[span_id]) for number in range(2)]
    for number, there in enumerate(spans):
        (found,) = await listed(client, f"twin {number}", "span", there.position, span_ids=span_id)
        assert found["result"]["score"] == number


async def test_feedback_that_links_to_its_target(client: httpx.AsyncClient) -> None:
    target: Sent = await sent(client, "linked")
    link = {"traceId": target.trace_id, "spanId": target.span_ids[0]}
    feedback = {**_feedback("", 0, "evaluation", name="late", label="fine"), **_feedback("trace.", 0, name="whole", score=3)}
    carrier = span_json(os.urandom(16).hex(), os.urandom(8).hex(), feedback, links=[link])
    position = (await send(client, "evaluations", [carrier])).headers["x-millstream-position"]
    (late,) = await listed(client, "linked", "span", position, span_ids=target.span_ids)
    (whole,) = await listed(client, "linked", "trace", trace_ids=target.trace_id)
    assert late["result"]["label"] == "fine" and whole["result"]["score"] == 3.0


async def test_feedback_that_cannot_be_read_is_told(client: httpx.AsyncClient) -> None:
    span = span_json(os.urandom(16).hex(), os.urandom(8).hex(), {**_feedback("", 0, name="empty"), **_feedback("", 1, name="fine", label="x")})
    answer = await send(client, "told", [span])
    assert "'empty' needs a score, a label or an explanation" in answer.json()["partialSuccess"]["errorMessage"]
    (found,) = await listed(client, "told", "span", answer.headers["x-millstream-position"], span_ids=span["spanId"])
    assert found["name"] == "fine"


async def test_spans_created_over_rest_carry_feedback_too(client: httpx.AsyncClient) -> None:
    times = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z"}
    context = {"trace_id": os.urandom(16).hex(), "span_id": os.urandom(8).hex()}
    span = {"name": "n", "context": context, "span_kind": "LLM", "status_code": "OK", **times, "attributes": _feedback("", 0, name="tone", label="kind")}
    created = await client.post("/projects/created/spans", json={"data": [span]})
    assert created.status_code == 202, created.text
    (found,) = await listed(client, "created", "span", span_ids=context["span_id"])
    assert (found["name"], found["result"]["label"], found["source"]) == ("tone", "kind", "SPAN")
    assert found["updated_at"] == "2026-01-01T00:00:01Z"


async def test_sync_waits_for_what_is_on_the_way(live: LiveStack, client: httpx.AsyncClient) -> None:
    for _ in range(5):
        there = await sent(client, "hurried")
        assert (await write(client, "span", said("at once", span_id=there.span_ids[0]))).status_code == 200


async def test_a_key_that_reads_may_not_write(live: LiveStack) -> None:
    secret = f"annotation-reader-{os.urandom(8).hex()}"
    await asyncio.to_thread(live.define, {"kind": "key", "id": secret[-8:], "name": "reader", "sha256": hash_secret(secret), "role": "viewer"})
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=live.url("llm") + "/v1", headers=headers, timeout=20) as client:

        async def refused() -> bool:
            return (await write(client, "span", said("a", span_id="0" * 16))).status_code == 403

        assert await eventually(refused)
        assert (await client.get("/projects/default/span_annotations", params={"identifier": "nobody's"})).status_code == 200
        assert (await client.delete("/projects/default/span_annotations", params={"delete_all": "true"})).status_code == 403

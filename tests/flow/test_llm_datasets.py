"""Datasets of the LLM surface over HTTP, row by row of the requirements catalogue, and with the spans they come from."""

import json
import os
import uuid
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from schemas.global_id import global_id, number_of, span_number
from tests.flow.llm_spans import sent
from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack


@pytest.fixture(params=[("llm", ""), ("main", "/llm")], ids=["port", "prefix"])
async def client(live: LiveStack, request: pytest.FixtureRequest) -> Any:
    port, prefix = request.param
    async with httpx.AsyncClient(base_url=live.url(port) + prefix + "/v1", headers=live.headers, timeout=30) as client:
        yield client


async def upload(client: httpx.AsyncClient, count: int = 2, **fields: Any) -> dict[str, Any]:
    """What the upload of a new dataset did."""
    inputs = [{"question": f"{number} + {number}"} for number in range(count)]
    body = {"action": "create", "name": uuid.uuid4().hex, "inputs": inputs, "outputs": [{"answer": str(2 * number)} for number in range(count)], **fields}
    answer = await client.post("/datasets/upload", params={"sync": True}, json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return {**data, "name": body["name"]}


def lacks(answer: httpx.Response, documented: dict[str, Any]) -> Sequence[str]:
    """The documented keys that an answer lacks, but for those that only stand for any key."""
    assert answer.status_code in documented["status_accept"], answer.text
    return missing_keys(answer.json(), [key for key in documented["response_keys"] if "ANY_ADDITIONAL_PROPERTY" not in key])


def is_text(answer: httpx.Response, status: int) -> bool:
    return answer.status_code == status and answer.headers["content-type"].startswith("text/plain") and bool(answer.text)


@needs_catalogue
async def test_llm_datasets_upload_get_list_delete(client: httpx.AsyncClient) -> None:
    """llm.datasets.upload, llm.datasets.get, llm.datasets.list, llm.datasets.delete, llm.errors.409, llm.errors.404, llm.ids.global_id"""
    documented = row("llm.datasets.upload")
    body = {**documented["request"], "name": uuid.uuid4().hex}
    answer = await client.post("/datasets/upload", params={"sync": True}, json=body)
    assert not lacks(answer, documented)
    made = answer.json()["data"]
    assert number_of(made["dataset_id"], "Dataset") and number_of(made["version_id"], "DatasetVersion")
    again = await client.post("/datasets/upload", params={"sync": True}, json=body)
    assert is_text(again, 409) and "already exists" in again.text
    without = await client.post("/datasets/upload", json={**body, "name": f"{body['name']} 2"})
    assert without.status_code == 200 and without.json() is None
    answer = await client.get(f"/datasets/{made['dataset_id']}")
    assert not lacks(answer, row("llm.datasets.get"))
    shown = answer.json()["data"]
    assert (shown["name"], shown["description"], shown["example_count"]) == (body["name"], "text", 1)
    listed = await client.get("/datasets", params={"name": body["name"]})
    assert not lacks(listed, row("llm.datasets.list")) and listed.json() == {"data": [shown], "next_cursor": None}
    assert (await client.delete(f"/datasets/{made['dataset_id']}")).status_code == row("llm.datasets.delete")["status"]
    assert is_text(await client.delete(f"/datasets/{made['dataset_id']}"), 404)
    assert is_text(await client.get(f"/datasets/{made['dataset_id']}"), 404)
    assert is_text(await client.delete("/datasets/rubbish"), 422)


@needs_catalogue
async def test_llm_datasets_pages(client: httpx.AsyncClient) -> None:
    """llm.pagination.cursor: ten datasets and ten versions unless told otherwise, each once over the pages"""
    made = [await upload(client) for _ in range(11)]
    page = (await client.get("/datasets")).json()
    assert len(page["data"]) == 10 and page["next_cursor"] is not None
    found, cursor = [each["id"] for each in page["data"]], page["next_cursor"]
    while cursor is not None:
        page = (await client.get("/datasets", params={"limit": 3, "cursor": cursor})).json()
        found, cursor = [*found, *(each["id"] for each in page["data"])], page["next_cursor"]
    assert len(found) == len(set(found)) and {each["dataset_id"] for each in made} <= set(found)
    assert is_text(await client.get("/datasets", params={"cursor": "rubbish"}), 422)
    assert (await client.get("/datasets", params={"limit": 0})).json()["detail"][0]["loc"] == ["query", "limit"]


@needs_catalogue
async def test_llm_datasets_versions_and_examples(client: httpx.AsyncClient) -> None:
    """llm.datasets.versions, llm.datasets.examples"""
    made = await upload(client, splits=["train", "test"])
    for number in range(10):
        body = {"action": "append", "name": made["name"], "inputs": [{"question": number}]}
        assert (await client.post("/datasets/upload", params={"sync": True}, json=body)).status_code == 200
    answer = await client.get(f"/datasets/{made['dataset_id']}/versions")
    assert not lacks(answer, row("llm.datasets.versions"))
    assert len(answer.json()["data"]) == 10 and answer.json()["next_cursor"] == made["version_id"]
    rest = await client.get(f"/datasets/{made['dataset_id']}/versions", params={"cursor": made["version_id"]})
    assert [each["version_id"] for each in rest.json()["data"]] == [made["version_id"]]
    newest = await client.get(f"/datasets/{made['dataset_id']}/examples")
    assert not lacks(newest, row("llm.datasets.examples"))
    assert len(newest.json()["data"]["examples"]) == 12 and newest.json()["data"]["version_id"] == answer.json()["data"][0]["version_id"]
    first = await client.get(f"/datasets/{made['dataset_id']}/examples", params={"version_id": made["version_id"], "split": "test"})
    assert [each["input"] for each in first.json()["data"]["examples"]] == [{"question": "1 + 1"}]
    assert first.json()["data"]["filtered_splits"] == ["test"]
    unknown = {"version_id": global_id("DatasetVersion", 2**40)}
    assert is_text(await client.get(f"/datasets/{made['dataset_id']}/examples", params=unknown), 404)


@needs_catalogue
async def test_llm_datasets_downloads(client: httpx.AsyncClient) -> None:
    """llm.datasets.csv, llm.datasets.jsonl_openai_ft, llm.datasets.jsonl_openai_evals"""
    messages = [{"role": "user", "content": "hi"}]
    made = await upload(client, 1, inputs=[{"messages": messages}], outputs=[{"messages": [{"role": "assistant", "content": "hello"}]}])
    table = await client.get(row("llm.datasets.csv")["path"].removeprefix("/v1").format(id=made["dataset_id"]))
    assert table.status_code == 200 and table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines()[0] == "id,node_id,input.messages,output.messages"
    for name, expected in (
        ("llm.datasets.jsonl_openai_ft", {"messages": [*messages, {"role": "assistant", "content": "hello"}]}),
        ("llm.datasets.jsonl_openai_evals", {"messages": messages, "ideal": "hello"}),
    ):
        documented = row(name)
        answer = await client.get(documented["path"].removeprefix("/v1").format(id=made["dataset_id"]))
        assert is_text(answer, documented["status"]) and [json.loads(line) for line in answer.text.splitlines()] == [expected]
        assert is_text(await client.get(documented["path"].removeprefix("/v1").format(id="rubbish")), 422)


async def test_an_example_names_the_span_it_was_made_from(client: httpx.AsyncClient) -> None:
    spans = await sent(client, f"from-spans-{uuid.uuid4().hex}", {}, {})
    seen = await client.get("/projects/default/spans", params={"limit": 1}, headers={"X-Millstream-Wait-For": spans.position})
    assert seen.status_code in (200, 404)
    given = [spans.span_ids[0], os.urandom(8).hex(), None, global_id("Span", span_number(spans.trace_id, spans.span_ids[1]))]
    made = await upload(client, 4, span_ids=given)
    examples = (await client.get(f"/datasets/{made['dataset_id']}/examples")).json()["data"]["examples"]
    expected = [{"span_id": each, "span_node_id": global_id("Span", span_number(spans.trace_id, each))} for each in spans.span_ids]
    assert [each["source"] for each in examples] == [expected[0], None, None, expected[1]]


async def test_a_hundred_thousand_examples(live: LiveStack) -> None:
    """Stored in one request and read back in the order in which they came."""
    async with httpx.AsyncClient(base_url=f"{live.url('llm')}/v1", headers=live.headers, timeout=60) as client:
        made = await upload(client, 100_000)
        examples = (await client.get(f"/datasets/{made['dataset_id']}/examples")).json()["data"]["examples"]
        assert [each["input"]["question"] for each in examples] == [f"{number} + {number}" for number in range(100_000)]
        assert (await client.delete(f"/datasets/{made['dataset_id']}")).status_code == 204

"""Nobody gets at what belongs to another tenant, keys do what their role says, and of one name there is one thing."""

import asyncio
import json
import re
import uuid
from typing import Any, NamedTuple

import httpx
import pytest

from tests.flow.llm_operations import BODIES, JSON, OPERATIONS, RUN, SIDE_BY_SIDE, VERSION, Operation, client
from tests.flow.llm_operations import url as url  # a fixture


class Mine(NamedTuple):
    """Ids of things of one tenant, by the name of the parameter that takes them."""

    ids: dict[str, str]
    state: Any
    """Everything, as its owner reads it."""


async def owned(http: httpx.AsyncClient) -> Mine:
    """Makes one of everything."""
    name = f"own-{RUN}"

    async def made(path: str, body: Any) -> Any:
        answer = await http.post(path, json=body)
        assert answer.status_code in (200, 201, 202), f"{path}: {answer.text}"
        return answer.json().get("data", {})

    project = await made("/v1/projects", {"name": name})
    trace, span = uuid.uuid4().hex, uuid.uuid4().hex[:16]
    stored = {**BODIES["/v1/projects/default/spans"]["data"][0], "context": {"trace_id": trace, "span_id": span}, "attributes": {"session.id": name}}
    await made(f"/v1/projects/{name}/spans", {"data": [stored]})
    note = {"name": "n", "annotator_kind": "LLM", "span_id": span, "result": {"label": "l"}}
    await made("/v1/span_annotations?sync=true", {"data": [note]})
    prompt = await made("/v1/prompts", {"prompt": {"name": name}, "version": VERSION})
    assert (await http.post(f"/v1/prompt_versions/{prompt['id']}/tags", json={"name": "tag"})).status_code == 204
    user = await made("/v1/users", {"user": {"email": f"{name}@example.com", "username": name, "role": "MEMBER", "auth_method": "LOCAL"}})
    dataset = await made("/v1/datasets/upload?sync=true", {"name": name, "inputs": [{"q": 1}], "splits": ["s"]})
    split = await made(f"/v1/datasets/{dataset['dataset_id']}/splits", {"name": f"split-{RUN}"})
    experiment = await made(f"/v1/datasets/{dataset['dataset_id']}/experiments", {"name": "e"})
    rule = await made("/v1/evaluation_rules", {"annotation": "a", "evaluator": {"type": "regex", "pattern": "x"}})
    config = await made("/v1/annotation_configs", {"name": name, "type": "FREEFORM"})
    ids = {
        "project_identifier": project["id"], "span_identifier": span, "trace_identifier": trace, "session_identifier": name,
        "prompt_identifier": (await http.get("/v1/prompts")).json()["data"][0]["id"], "prompt_version_id": prompt["id"], "tag_name": "tag",
        "user_id": user["id"], "id": dataset["dataset_id"], "dataset_id": dataset["dataset_id"], "dataset_identifier": dataset["dataset_id"],
        "split_id": split["id"], "experiment_id": experiment["id"], "rule_id": rule["id"], "config_identifier": config["id"],
    }  # fmt: skip
    return Mine(ids, await state(http, ids))


async def state(http: httpx.AsyncClient, ids: dict[str, str]) -> Any:
    """What the owner reads about all of it."""
    reads = sorted({_filled(each, ids) for each in OPERATIONS if each.method == "GET" and "costs" not in each.path and "compare" not in each.path})
    found = {}
    for path in reads:
        params = {"span_ids": ids["span_identifier"]} if path.endswith(("span_annotations", "document_annotations")) else {}
        answer = await http.get(path, params=params)
        assert answer.status_code < 500, f"{path}: {answer.text}"
        found[path] = (answer.status_code, answer.content if "json" in answer.headers["content-type"] else None)
    return found


def _filled(operation: Operation, ids: dict[str, str]) -> str:
    return re.sub(r"\{([^}:]*)[^}]*\}", lambda match: ids[match[1]], operation.path)


async def test_nobody_gets_at_the_things_of_another_tenant(url: str) -> None:
    """Every operation with an id: the things of one tenant are to the other as if they were not there, and stay as they are."""
    async with client(url, "mine") as own, client(url, "theirs") as other:
        mine = await owned(own)
        with_ids = [each for each in OPERATIONS if "{" in each.path]
        right: dict[str, Any] = {
            "name": "x",
            "data": [],
            "version": VERSION,
            "annotation": "a",
            "evaluator": {"type": "regex", "pattern": "y"},
            "type": "FREEFORM",
        }
        for operation in with_ids:
            # A project that spans name is made for whoever sends them.
            if operation == ("POST", "/v1/projects/{project_identifier}/spans"):
                continue
            body = {**right, "description": "changed"} if operation.method in ("POST", "PUT", "PATCH") else None
            params = {"span_ids": "0" * 16, "trace_ids": "0" * 32, "session_ids": "x", "delete_all": "true", "baseline": mine.ids["experiment_id"]}
            answer = await other.request(operation.method, _filled(operation, mine.ids), json=body, params=params)
            assert answer.status_code in (404, 422), f"{operation}: {answer.status_code} {answer.text[:300]}"
            assert f"own-{RUN}" not in answer.text.replace(_filled(operation, mine.ids), "").replace(mine.ids["session_identifier"], ""), answer.text
        for path, body in (
            ("/v1/traces/transfer", {"trace_identifiers": [mine.ids["trace_identifier"]], "destination_project_identifier": "default"}),
            ("/v1/sessions/delete", {"session_identifiers": [mine.ids["session_identifier"]]}),
            ("/v1/span_notes", {"data": {"span_id": mine.ids["span_identifier"], "note": "n"}}),
            (
                "/v1/span_annotations?sync=true",
                {"data": [{"name": "n", "annotator_kind": "LLM", "span_id": mine.ids["span_identifier"], "result": {"label": "l"}}]},
            ),
        ):
            answer = await other.post(path, json=body)
            assert answer.status_code in (204, 404, 422), f"{path}: {answer.status_code} {answer.text}"
        table = await other.post("/v1/spans", json={"queries": [{}], "project_name": mine.ids["project_identifier"]}, headers={"accept": "application/json"})
        assert mine.ids["span_identifier"] not in table.text
        assert await state(own, mine.ids) == mine.state


async def test_keys_do_what_their_role_says(url: str) -> None:
    """A key that reads changes nothing; one that sends reads nothing and sends spans, annotations and projects only."""
    sends = re.compile(
        r"/v1/(projects|projects/\{project_identifier\}(/spans)?|(span|trace|session|document)_(annotations|notes)|evaluations|traces/transfer)$"
    )
    async with client(url, "read") as reader, client(url, "ingest") as sender:
        for operation in OPERATIONS:
            path = re.sub(r"\{[^}]*\}", "nothing", operation.path)
            answer = await reader.request(operation.method, path)
            asks = operation.method == "GET" or operation == ("POST", "/v1/spans")
            needs_more = operation.path == "/v1/users"
            assert (answer.status_code == 403) == (not asks or needs_more), f"read key: {operation}: {answer.status_code} {answer.text[:200]}"
            answer = await sender.request(operation.method, path)
            allowed = operation.method in ("POST", "PUT") and sends.match(operation.path)
            assert (answer.status_code == 403) == (not allowed), f"ingest key: {operation}: {answer.status_code} {answer.text[:200]}"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/projects", {"name": "{}"}),
        ("/v1/users", {"user": {"email": "{n}@example.com", "username": "{}", "role": "MEMBER", "auth_method": "LOCAL"}}),
        ("/v1/users", {"user": {"email": "{}@example.com", "username": "{n}", "role": "MEMBER", "auth_method": "LOCAL"}}),
        ("/v1/datasets/upload?sync=true", {"name": "{}", "action": "create", "inputs": [{"q": 1}]}),
        ("/v1/annotation_configs", {"name": "{}", "type": "FREEFORM"}),
        ("/v1/evaluation_rules", {"id": "{}", "annotation": "a", "evaluator": {"type": "regex", "pattern": "x"}}),
    ],
    ids=["projects", "user names", "user addresses", "datasets", "annotation_configs", "evaluation_rules"],
)
async def test_of_names_sent_side_by_side_one_wins(url: str, path: str, body: dict[str, Any]) -> None:
    name = f"once-{uuid.uuid4().hex[:12]}"
    bodies = [json.dumps(body).replace("{}", name).replace("{n}", f"{name}-{number}") for number in range(SIDE_BY_SIDE)]
    async with client(url, "mine") as http:
        answers = await asyncio.gather(*(http.post(path, content=each, headers=JSON) for each in bodies))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] in (200, 201) and statuses[1:] == [409] * (SIDE_BY_SIDE - 1), [answer.text for answer in answers]

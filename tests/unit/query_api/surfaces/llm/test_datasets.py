"""Datasets over the API: uploads in every form, versions, splits, downloads, and what is refused."""

import gzip
import io
import json
import zlib
from collections.abc import Mapping
from typing import Any

import httpx
import pyarrow as pa

from infra.runtime.settings import Settings
from schemas.global_id import global_id
from tests.unit.query_api.stored import Service
from tests.unit.query_api.surfaces.llm.conftest import Ask

QUESTIONS = {
    "name": "questions",
    "inputs": [{"q": "1 + 1"}, {"q": "2 + 2"}],
    "outputs": [{"a": "2"}, {"a": "4"}],
    "metadata": [{"level": 1}, {}],
}


async def uploaded(ask: Ask, **fields: Any) -> dict[str, Any]:
    """What an upload did."""
    answer = await ask("POST", "/datasets/upload?sync=true", body={**QUESTIONS, **fields})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def counts(data: Mapping[str, Any]) -> tuple[int, int, int]:
    return data["num_created_examples"], data["num_updated_examples"], data["num_deleted_examples"]


async def examples(ask: Ask, dataset: str, **params: Any) -> list[dict[str, Any]]:
    answer = await ask("GET", f"/datasets/{dataset}/examples", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]["examples"]
    return found


async def refused(ask: Ask, body: Any, *words: str, status: int = 422) -> None:
    answer = await ask("POST", "/datasets/upload?sync=true", body=body)
    assert answer.status_code == status and answer.headers["content-type"].startswith("text/plain"), answer.text
    assert all(word in answer.text for word in words), answer.text


async def posted(service: Service, content: bytes, content_type: str) -> httpx.Response:
    """An upload of any bytes."""
    headers = {"Authorization": "Bearer admin", "Content-Type": content_type}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://query/llm/v1") as http:
        return await http.post("/datasets/upload", content=content, headers=headers)


async def sent(
    ask: Ask, content: bytes, kind: str = "text/csv", encoding: str = "", *, file_name: str = "data.csv", sync: bool = True, **fields: Any
) -> httpx.Response:
    """An upload as a form: the file's part carries the encoding."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    data = {
        "name": "table",
        "action": "update",
        **{name.removesuffix("_list") + ("[]" if name.endswith("_list") else ""): each for name, each in fields.items()},
    }
    return await ask("POST", f"/datasets/upload?sync={sync}".lower(), files={"file": (file_name, content, kind, headers)}, data=data)


COLUMNS: dict[str, Any] = {"input_keys_list": ["q"], "output_keys_list": ["a"], "metadata_keys_list": ["note"]}


async def test_a_dataset_is_made_listed_read_and_deleted(ask: Ask) -> None:
    made = await uploaded(ask, description="sums")
    assert counts(made) == (2, 0, 0)
    shown = (await ask("GET", f"/datasets/{made['dataset_id']}")).json()["data"]
    assert shown["name"] == "questions" and shown["description"] == "sums" and shown["metadata"] == {} and shown["example_count"] == 2
    assert (await ask("GET", "/datasets?name=questions")).json() == {"data": [shown], "next_cursor": None}
    assert (await ask("GET", "/datasets?name=others")).json() == {"data": [], "next_cursor": None}
    first, second = await examples(ask, made["dataset_id"])
    assert first["id"] == first["node_id"] and first["input"] == {"q": "1 + 1"} and first["output"] == {"a": "2"} and first["metadata"] == {"level": 1}
    assert second["metadata"] == {} and second["source"] is None
    assert (await ask("DELETE", f"/datasets/{made['dataset_id']}")).status_code == 204
    assert (await ask("GET", f"/datasets/{made['dataset_id']}")).status_code == 404
    assert (await ask("DELETE", f"/datasets/{made['dataset_id']}")).status_code == 404


async def test_lists_have_pages(ask: Ask) -> None:
    made = [await uploaded(ask, name=f"d{number}") for number in range(3)]
    page = (await ask("GET", "/datasets?limit=2")).json()
    assert [each["name"] for each in page["data"]] == ["d2", "d1"] and page["next_cursor"] == made[0]["dataset_id"]
    rest = (await ask("GET", f"/datasets?limit=2&cursor={page['next_cursor']}")).json()
    assert [each["name"] for each in rest["data"]] == ["d0"] and rest["next_cursor"] is None
    for cursor in ("rubbish", made[0]["version_id"]):
        answer = await ask("GET", f"/datasets?cursor={cursor}")
        assert answer.status_code == 422 and "cursor" in answer.text


async def test_an_identical_update_makes_no_version(ask: Ask) -> None:
    made = await uploaded(ask)
    again = await uploaded(ask, action="update")
    assert counts(again) == (0, 0, 0) and again["version_id"] == made["version_id"]
    turned = await uploaded(ask, action="update", inputs=[{"q": "2 + 2"}, {"q": "1 + 1"}], outputs=[{"a": "4"}, {"a": "2"}], metadata=[{}, {"level": 1}])
    assert counts(turned) == (0, 0, 0)
    versions = (await ask("GET", f"/datasets/{made['dataset_id']}/versions")).json()
    assert [each["version_id"] for each in versions["data"]] == [made["version_id"]] and versions["next_cursor"] is None
    assert versions["data"][0].keys() == {"version_id", "description", "metadata", "created_at"}


async def test_an_update_makes_the_dataset_what_is_sent_and_old_versions_stay(ask: Ask) -> None:
    made = await uploaded(ask, example_ids=["one", None])
    changed = await uploaded(
        ask, action="update", inputs=[{"q": "1 + 1 = ?"}, {"q": "3 + 3"}], outputs=[{"a": "2"}, {"a": "6"}], metadata=[], example_ids=["one", "three"]
    )
    assert counts(changed) == (1, 1, 1)
    before = await examples(ask, made["dataset_id"], version_id=made["version_id"])
    after = await examples(ask, made["dataset_id"])
    assert [each["input"]["q"] for each in before] == ["1 + 1", "2 + 2"]
    assert [(each["id"], each["input"]["q"]) for each in after] == [("one", "1 + 1 = ?"), ("three", "3 + 3")]
    assert after[0]["node_id"] == before[0]["node_id"]
    by_node = await uploaded(ask, action="append", inputs=[{"q": "one"}], outputs=[], metadata=[], example_ids=[after[0]["node_id"]])
    assert counts(by_node) == (0, 1, 0)
    assert [each["input"]["q"] for each in await examples(ask, made["dataset_id"])] == ["one", "3 + 3"]
    assert [each["input"]["q"] for each in await examples(ask, made["dataset_id"], version_id=changed["version_id"])] == ["1 + 1 = ?", "3 + 3"]
    revived = await uploaded(ask, action="update", inputs=[{"q": "back"}], outputs=[], metadata=[], example_ids=["three"])
    assert counts(revived) == (0, 1, 1)
    assert counts(await uploaded(ask, action="update", inputs=[{"q": "1"}], outputs=[], metadata=[], example_ids=["one"])) == (1, 0, 1)
    (only,) = await examples(ask, made["dataset_id"])
    assert only["node_id"] == before[0]["node_id"]


async def test_equal_examples_without_ids_are_as_many_as_sent(ask: Ask) -> None:
    same = {"inputs": [{"q": "x"}] * 3, "outputs": [], "metadata": []}
    made = await uploaded(ask, **same)
    assert counts(made) == (3, 0, 0)
    assert counts(await uploaded(ask, action="append", **same)) == (0, 0, 0)
    assert counts(await uploaded(ask, action="append", inputs=[{"q": "x"}] * 4, outputs=[], metadata=[])) == (1, 0, 0)
    assert counts(await uploaded(ask, action="update", inputs=[{"q": "x"}], outputs=[], metadata=[])) == (0, 0, 3)


async def test_content_is_kept_as_it_came(ask: Ask) -> None:
    odd = {"text": 'Ω \u0000 "quoted"\n', "number": 1.5, "whole": 2**63, "no": None, "list": [1, {"deep": [True]}], "": "empty key"}
    made = await uploaded(ask, inputs=[odd], outputs=[], metadata=[])
    assert (await examples(ask, made["dataset_id"]))[0]["input"] == odd
    await refused(ask, {"name": "big", "inputs": [{"n": 2**64}]}, "inputs[0]", "64-bit")


async def test_splits(ask: Ask) -> None:
    made = await uploaded(ask, splits=["train", ["train", "hard"]])
    dataset = made["dataset_id"]
    assert [each["input"]["q"] for each in await examples(ask, dataset, split="hard")] == ["2 + 2"]
    answer = (await ask("GET", f"/datasets/{dataset}/examples", params={"split": ["hard", "train"]})).json()["data"]
    assert len(answer["examples"]) == 2 and sorted(answer["filtered_splits"]) == ["hard", "train"]
    assert (await ask("GET", f"/datasets/{dataset}/examples?split=unknown")).status_code == 404
    assert counts(await uploaded(ask, action="update")) == (0, 0, 0), "splits that are not spoken of stay"
    assert len(await examples(ask, dataset, split="train")) == 2
    moved = await uploaded(ask, action="update", splits=[None, "train"])
    assert counts(moved) == (0, 2, 0) and moved["version_id"] == made["version_id"]
    assert [each["input"]["q"] for each in await examples(ask, dataset, split="train")] == ["2 + 2"]
    assert await examples(ask, dataset, split="hard") == []


async def test_splits_are_made_changed_and_deleted(ask: Ask) -> None:
    made = await uploaded(ask)
    first, second = [each["node_id"] for each in await examples(ask, made["dataset_id"])]
    path = "/datasets/questions/splits"
    answer = await ask("POST", path, body={"name": "gold", "example_ids": [first], "metadata": {"by": "hand"}})
    assert answer.status_code == 201
    split = answer.json()["data"]
    assert split["example_count"] == 1 and split["metadata"] == {"by": "hand"} and split["color"]
    assert (await ask("POST", path, body={"name": "gold"})).status_code == 409
    assert (await ask("POST", path, body={"name": " "})).status_code == 422
    foreign = global_id("DatasetExample", 5)
    assert (await ask("POST", path, body={"name": "x", "example_ids": [foreign]})).status_code == 404
    assert (await ask("GET", f"/datasets/{made['dataset_id']}/examples?split=x")).status_code == 404, "nothing of it was stored"
    changed = await ask("PATCH", f"{path}/{split['id']}", body={"name": "silver", "add_example_ids": [first, second], "remove_example_ids": [first]})
    assert changed.json()["data"]["name"] == "silver" and changed.json()["data"]["example_count"] == 1
    assert [each["node_id"] for each in await examples(ask, made["dataset_id"], split=split["id"])] == [second]
    assert (await ask("DELETE", f"{path}/{split['id']}")).status_code == 204
    assert (await ask("DELETE", f"{path}/{split['id']}")).status_code == 404
    assert (await ask("PATCH", "/datasets/nobody/splits/x", body={})).status_code == 404


async def test_csv_with_its_columns_shared_out(ask: Ask) -> None:
    table = 'q,a,note,part,own\n1 + 1,2,"says ""two"", once",train,e1\n2 + 2,4,,"[""train"",""hard""]",e2\n'
    for content, encoding in ((table.encode(), ""), (gzip.compress(table.encode()), "gzip"), (zlib.compress(table.encode()), "deflate")):
        answer = await sent(ask, content, encoding=encoding, split_key="part", example_id_key="own", **COLUMNS)
        assert answer.status_code == 200, answer.text
    found = await examples(ask, answer.json()["data"]["dataset_id"])
    assert [(each["id"], each["input"], each["output"]) for each in found] == [("e1", {"q": "1 + 1"}, {"a": "2"}), ("e2", {"q": "2 + 2"}, {"a": "4"})]
    assert found[0]["metadata"] == {"note": 'says "two", once'} and found[1]["metadata"] == {}
    assert [each["id"] for each in await examples(ask, answer.json()["data"]["dataset_id"], split="hard")] == ["e2"]
    assert answer.json()["data"]["num_created_examples"] == 0
    described = (await ask("GET", "/datasets?name=table")).json()["data"][0]
    assert described["description"] == "data.csv"


async def test_jsonl_and_flattened_columns(ask: Ask) -> None:
    lines = [{"row": {"q": "1", "n": 1}, "a": [1]}, {"row": {"q": "2"}, "note": None}]
    content = "\n".join(json.dumps(each) for each in lines).encode() + b"\n\n"
    keys: dict[str, Any] = {**COLUMNS, "input_keys_list": ["row"], "flatten_keys_list": ["row"]}
    answer = await sent(ask, content, "application/jsonl", **keys)
    found = await examples(ask, answer.json()["data"]["dataset_id"])
    assert [each["input"] for each in found] == [{"q": "1", "n": 1}, {"q": "2"}]
    assert [each["output"] for each in found] == [{"a": [1]}, {}] and found[1]["metadata"] == {"note": None}
    for wrong, words in ((b'{"row": 1}\nnot json', "Line 2"), (b"[1]", "Line 1"), (b'{"row": 1}', "cannot flatten")):
        answer = await sent(ask, wrong, "application/jsonl", name="other", input_keys_list=["row"], flatten_keys_list=["row"])
        assert answer.status_code == 422 and words in answer.text


async def test_arrow(ask: Ask) -> None:
    table = pa.table({"q": ["1", None], "a": [{"x": [1.5]}, None], "when": pa.array([0, 1], pa.timestamp("s", "UTC"))})
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    keys: dict[str, Any] = {"input_keys_list": ["q"], "output_keys_list": ["a"], "metadata_keys_list": ["when"]}
    answer = await sent(ask, stream.getvalue(), "application/x-pandas-pyarrow", **keys)
    found = await examples(ask, answer.json()["data"]["dataset_id"])
    assert [each["input"] for each in found] == [{"q": "1"}, {"q": None}]
    assert found[0]["output"] == {"a": {"x": [1.5]}} and found[0]["metadata"] == {"when": "1970-01-01T00:00:00+00:00"}
    for broken in (b"nothing of the kind", stream.getvalue()[:-200]):
        assert (await sent(ask, broken, "application/x-pandas-pyarrow", name="broken", **keys)).status_code == 422
    assert (await ask("GET", "/datasets?name=broken")).json()["data"] == []


BROKEN_CSV = [
    (b"q,a,note\n1,2,3\n1,2\n", "Line 3 of the CSV file has 2 cells, but its header has 3"),
    (b"q,a,note\n1,2,3,4\n", "Line 2 of the CSV file has 4 cells"),
    (b'q,a,note\n1,2,"open\n', "broken at line 2"),
    (b'q,a,note\n1,"2" x,3\n', "broken at line 2"),
    (b"q,q,note\n1,2,3\n", "Duplicated column header in CSV file: q"),
    (b"q,a\n1,2\n", "metadata keys not found in column headers: note"),
    (b"", "no header"),
    (b"q,a,note\n\xff,2,3\n", "not UTF-8: byte 9"),
]


async def test_broken_csv_is_refused_with_its_place(ask: Ask) -> None:
    for content, words in BROKEN_CSV:
        answer = await sent(ask, content, **COLUMNS)
        assert answer.status_code == 422 and words in answer.text, answer.text
    assert (await ask("GET", "/datasets")).json()["data"] == []


async def test_gzip_that_lies_is_refused(ask: Ask) -> None:
    whole = gzip.compress(b"q,a,note\n" + b"1,2,3\n" * 1_000)
    for content in (whole[:-8], whole[: len(whole) // 2], b"no gzip", whole[:30] + b"\x00\x01" + whole[32:]):
        answer = await sent(ask, content, encoding="gzip", **COLUMNS)
        assert answer.status_code == 422 and "The file" in answer.text, answer.text
    bomb = gzip.compress(b"q,a,note\n" + bytes(Settings().ingest.max_body_bytes))
    answer = await sent(ask, bomb, encoding="gzip", **COLUMNS)
    assert answer.status_code == 413 and len(bomb) < 30_000
    assert (await sent(ask, b"q,a,note\n", encoding="br", **COLUMNS)).status_code == 415
    assert (await ask("GET", "/datasets")).json()["data"] == []


async def test_a_form_that_is_none_is_refused(service: Service, ask: Ask) -> None:
    for content in (b"", b"--y\r\n", b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nn\r\n--x--\r\n'):
        answer = await posted(service, content, "multipart/form-data; boundary=x")
        assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/plain"), answer.text
    assert (await posted(service, b"", "multipart/form-data")).status_code == 422
    assert (await posted(service, b"a", "text/html")).status_code == 422
    answer = await sent(ask, b"q\n1\n", kind="image/png")
    assert answer.status_code == 422 and "Invalid file content type: image/png" in answer.text
    answer = await sent(ask, b"q,s\n1,2\n", input_keys_list=["q"], split_key="s", split_keys_list=["s"])
    assert answer.status_code == 422 and "not both" in answer.text


WRONG_JSON: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": ""}, ["name"]),
    ({"name": 7}, ["name"]),
    ({"name": "x" * 301}, ["301"]),
    ({"name": "a\u0000"}, ["NUL"]),
    ({"action": "replace"}, ["Invalid dataset action: replace"]),
    ({"inputs": None}, ["inputs"]),
    ({"inputs": [1]}, ["inputs"]),
    ({"inputs": {"q": 1}}, ["inputs"]),
    ({"outputs": [{}]}, ["outputs", "same length"]),
    ({"metadata": [1, 2]}, ["metadata"]),
    ({"splits": ["a"]}, ["splits", "(1 != 2)"]),
    ({"splits": "ab"}, ["splits must be a list"]),
    ({"splits": [1, 2]}, ["Split value", "int"]),
    ({"span_ids": [1, None]}, ["Span ID"]),
    ({"example_ids": ["a"]}, ["example_ids"]),
    ({"example_ids": ["a", "a"]}, ["Duplicate example_id in request: 'a'"]),
    ({"example_ids": [1, 2]}, ["example_ids"]),
    ({"example_ids": [global_id("DatasetExample", 77), None]}, ["No examples found in this dataset with the following IDs"]),
    ({"description": 1}, ["description"]),
]


async def test_wrong_json_is_refused_and_nothing_is_stored(ask: Ask) -> None:
    for change, words in WRONG_JSON:
        await refused(ask, {**QUESTIONS, **change}, *words)
    assert (await ask("GET", "/datasets")).json()["data"] == []


async def test_bodies_that_are_not_json_are_refused(service: Service, ask: Ask) -> None:
    for content in (b"", b"{", b"[]", b'{"name": NaN}', b"\xff", b'{"inputs":' + b"[" * 5_000 + b"]" * 5_000 + b"}"):
        answer = await posted(service, content, "application/json")
        assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/plain"), content[:20]
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    await refused(ask, {"name": "deep", "inputs": [{"x": deep}]}, "inputs[0]")
    over = Settings().ingest
    answer = await posted(service, b'{"name": "' + b"x" * over.max_body_bytes + b'"}', "application/json")
    assert answer.status_code == 413
    rows = ",".join(["{}"] * (over.max_rows + 1))
    answer = await posted(service, f'{{"name":"many","inputs":[{rows}]}}'.encode(), "application/json")
    assert answer.status_code == 413 and "append" in answer.text


async def test_a_name_is_created_once(ask: Ask) -> None:
    await uploaded(ask)
    await refused(ask, QUESTIONS, "already exists", status=409)
    assert (await ask("POST", "/datasets/upload", body={**QUESTIONS, "inputs": [{"q": 1}, {"q": 2}]})).status_code == 409
    answer = await ask("POST", "/datasets/upload", body={**QUESTIONS, "name": "other"})
    assert answer.status_code == 200 and answer.json() is None
    assert len((await ask("GET", "/datasets?name=other")).json()["data"]) == 1


async def test_ids_that_name_nothing(ask: Ask) -> None:
    made = await uploaded(ask)
    for path in ("", "/versions", "/examples"):
        for id, status in (("rubbish", 422), (global_id("Dataset", 9), 404), (global_id("Dataset", 2**80), 404), (global_id("Project", 1), 404)):
            answer = await ask("GET", f"/datasets/{id}{path}")
            assert answer.status_code == status and answer.headers["content-type"].startswith("text/plain"), (id, path)
    for version, status in (("rubbish", 422), (global_id("DatasetVersion", 9), 404), (made["dataset_id"], 404)):
        assert (await ask("GET", f"/datasets/{made['dataset_id']}/examples?version_id={version}")).status_code == status
    for path in ("csv", "jsonl", "jsonl/openai_ft", "jsonl/openai_evals"):
        assert (await ask("GET", f"/datasets/{global_id('Dataset', 9)}/{path}")).status_code == 422
        assert (await ask("GET", f"/datasets/{made['dataset_id']}/{path}?version_id={global_id('DatasetVersion', 9)}")).status_code == 422


async def test_a_csv_download_can_be_uploaded_again(ask: Ask) -> None:
    made = await uploaded(
        ask, inputs=[{"q": {"text": 'a,\n"b"', "n": 1}, "tags": ["x"]}, {"q": {"text": "c"}}], outputs=[{"a": "2"}, {}], metadata=[], splits=["train", None]
    )
    answer = await ask("GET", f"/datasets/{made['dataset_id']}/csv")
    assert answer.headers["content-type"].startswith("text/csv") and "questions.csv" in answer.headers["content-disposition"]
    header, *_ = answer.text.splitlines()
    assert header == "id,node_id,input.q.text,input.q.n,input.tags,output.a,splits"
    keys: dict[str, Any] = {"input_keys_list": ["input.q.text", "input.q.n", "input.tags"], "output_keys_list": ["output.a"]}
    again = await sent(ask, answer.content, name="copy", split_key="splits", **keys)
    found = await examples(ask, again.json()["data"]["dataset_id"])
    assert [each["input"] for each in found] == [{"q": {"text": 'a,\n"b"', "n": "1"}, "tags": ["x"]}, {"q": {"text": "c"}}]
    assert len(await examples(ask, again.json()["data"]["dataset_id"], split="train")) == 1
    clash = await sent(ask, b"input.a,input.a.b\n1,2\n", name="clash", input_keys_list=["input.a", "input.a.b"])
    assert clash.status_code == 422 and "line 2" in clash.text


async def test_lines_for_openai(ask: Ask) -> None:
    asked, answered = [{"role": "user", "content": "hi"}], [{"role": "assistant", "content": "hello"}]
    made = await uploaded(ask, inputs=[{"messages": asked, "tools": [{"type": "function"}]}, {"q": 1}], outputs=[{"messages": answered}, {}], metadata=[])
    path = f"/datasets/{made['dataset_id']}/jsonl"
    plain = [json.loads(line) for line in (await ask("GET", path)).text.splitlines()]
    assert plain[1]["input"] == {"q": 1} and plain[1].keys() == {"id", "node_id", "input", "output", "metadata", "splits"}
    tuning = await ask("GET", f"{path}/openai_ft")
    assert tuning.headers["content-type"].startswith("text/plain")
    assert [json.loads(line) for line in tuning.text.splitlines()] == [{"messages": [*asked, *answered], "tools": [{"type": "function"}]}, {"messages": []}]
    evals = (await ask("GET", f"{path}/openai_evals")).text.splitlines()
    assert [json.loads(line) for line in evals] == [{"messages": asked, "ideal": "hello"}, {"messages": [], "ideal": ""}]


async def test_readers_do_not_write_and_tenants_do_not_meet(ask: Ask) -> None:
    made = await uploaded(ask, splits=["train", None])
    path = f"/datasets/{made['dataset_id']}"
    assert (await ask("GET", path, "viewer")).status_code == 200
    assert (await ask("POST", "/datasets/upload", "viewer", {**QUESTIONS, "name": "n"})).status_code == 403
    assert (await ask("DELETE", path, "viewer")).status_code == 403
    for other in (path, f"{path}/examples", f"{path}/versions", f"{path}/experiments"):
        assert (await ask("GET", other, "other")).status_code == 404, other
    assert (await ask("DELETE", path, "other")).status_code == 404
    assert (await ask("GET", "/datasets", "other")).json()["data"] == []
    own = (await ask("POST", "/datasets/upload?sync=true", "other", QUESTIONS)).json()["data"]
    assert (await ask("GET", f"/datasets/{own['dataset_id']}/examples?split=train", "other")).status_code == 404, "splits are the tenant's own"
    assert len((await ask("GET", "/datasets")).json()["data"]) == 1

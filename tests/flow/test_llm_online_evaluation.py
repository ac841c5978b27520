"""Online evaluation through the whole stack: a rule, spans, annotations, windows, and who is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import websockets

from schemas.evaluators.own_calls import is_own, own_traceparent
from tests.flow.llm_client import Json, LlmClient, llm_client, new_trace, now, otlp_span
from tests.flow.model_server import ModelServer, Reply, model_server
from tests.flow.stack import LiveStack
from tests.flow.test_webhooks import Receiver
from tests.support import eventually

WAIT_S = 40.0


@pytest.fixture
async def client(live: LiveStack) -> AsyncIterator[LlmClient]:
    async with llm_client(live) as client:
        yield client


class Judged:
    """A project with a rule on it."""

    def __init__(self, live: LiveStack, client: LlmClient, project: str, rule: Json) -> None:
        self.live = live
        self.client = client
        self.project = project
        self.rule = rule
        self.sent: dict[str, str] = {}
        """Output by span id, in the order they were sent."""
        self.known_after = 0
        """How many of them went before the workers were seen to know the rule: they may or may not be judged."""

    async def say(self, *outputs: str, **attributes: Any) -> list[str]:
        """Spans with these outputs that end now, each in a trace of its own; their span ids."""
        spans = [otlp_span(new_trace(), "answer", start=now() - 1_000_000, seconds=0.001, output__value=text, **attributes) for text in outputs]
        await self.client.send(self.project, *spans)
        self.sent |= {span["spanId"]: text for span, text in zip(spans, outputs, strict=True)}
        return [span["spanId"] for span in spans]

    async def annotations(self) -> dict[str, Json]:
        """What the rule said, by span id."""
        found: list[Json] = []
        ids = list(self.sent)
        for start in range(0, len(ids), 100):
            answer = await self.client.get(f"/projects/{self.project}/span_annotations", span_ids=ids[start : start + 100], limit=1_000)
            found += answer.json()["data"] if answer.status_code == 200 else []
        mine = [each for each in found if each["identifier"] == self.rule["id"]]
        assert len({each["span_id"] for each in mine}) == len(mine), "more than one annotation of a span"
        return {each["span_id"]: each for each in mine}

    async def known(self, probe: str) -> None:
        """Wait until the workers know the rule: until a span with this output was judged, one way or the other."""

        async def judged() -> bool:
            await self.say(probe)
            return bool(await self.figures())

        await eventually(judged, timeout=WAIT_S, interval=0.3)
        self.known_after = len(self.sent)

    async def all_judged(self, *, failures: int = 0, left_out: int = 0) -> Json:
        """The figures, once the rule has an evaluation of every span sent since it was known, but for those its filter leaves out."""

        async def done() -> Json:
            said = await self.annotations()
            figures = await self.figures()
            owed = [text for span, text in list(self.sent.items())[self.known_after :] if span not in said]
            assert len(owed) == failures + left_out, f"no annotation of {owed}"
            assert figures["failures"] == failures and figures["count"] - failures == len(said), f"{figures} for {len(said)} annotations"
            return figures

        return await eventually(done, timeout=WAIT_S, interval=0.2)

    async def figures(self, item: str = "results", grain: str = "all") -> Json:
        """Figures of the rule's window."""
        params = {"subject": self.rule["id"], "grain": grain, "item": item}
        async with httpx.AsyncClient(base_url=self.live.main_url, headers=self.live.headers, timeout=20) as http:
            answer = await http.get("/platform/v1/windows/evaluation", params=params)
        assert answer.status_code == 200, answer.text
        return {} if not answer.json()["data"] else dict(answer.json()["data"][-1]["figures"])


@asynccontextmanager
async def judged(live: LiveStack, client: LlmClient, **rule: Any) -> AsyncIterator[Judged]:
    """A rule on a project of its own, deleted afterwards."""
    project = f"judged {uuid4().hex[:8]}"
    answer = await client.http.post("/evaluation_rules", json={"project": project, "annotation": "verdict", **rule})
    assert answer.status_code == 200, answer.text
    stored = answer.json()["data"]
    yield Judged(live, client, project, stored)
    assert (await client.http.delete(f"/evaluation_rules/{stored['id']}")).status_code == 204


async def test_from_a_rule_to_annotations_windows_and_the_webhook(live: LiveStack, client: LlmClient) -> None:
    receiver = Receiver()
    async with httpx.AsyncClient(base_url=live.url("experimentation") + "/api/v1", headers=live.headers, timeout=20) as http:
        made = (await http.post("/webhooks", json={"url": receiver.url, "events": ["evaluation.threshold_crossed"]})).json()["data"]
        receiver.secret = made["secret"]
    alert = {"measure": "mean_score", "below": 0.5, "over_minutes": 30, "at_least": 10}
    polite = {"type": "regex", "pattern": "(?i)please|thank"}
    async with judged(live, client, evaluator=polite, alerts=[alert], filter="'skip' not in output.value", name="Polite") as place:
        name = "mean score below 0.5 over 30 min"
        await place.known("please")
        live_socket = live.main_url.replace("http", "ws") + "/platform/v1/live"
        async with websockets.connect(live_socket, additional_headers=live.headers) as socket:
            await socket.send(json.dumps({"type": "subscribe", "kind": "evaluation", "subject": place.rule["id"], "grain": "all"}))
            rude = await place.say(*["no"] * 30, "skip this")
            await place.say("Thank you")
            figures = await place.all_judged(left_out=1)
            assert figures["labels"]["no_match"] == 30 and figures["labels"]["match"] == figures["count"] - 30
            assert figures["mean_score"] == pytest.approx(figures["labels"]["match"] / figures["count"])
            assert {grain: (await place.figures(grain=grain))["failures"] for grain in ("1m", "5m", "1h", "1d")} == dict.fromkeys(("1m", "5m", "1h", "1d"), 0)
            seen: Json = {}
            async with asyncio.timeout(WAIT_S):
                while not seen.get(name, {}).get("crossed"):
                    message = json.loads(await socket.recv())
                    seen = message["window"]["items"] if message["type"] == "update" else seen
        said = await place.annotations()
        assert set(rude[:-1]) < set(said) and rude[-1] not in said
        one = said[rude[0]]
        assert (one["name"], one["annotator_kind"]) == ("verdict", "CODE")
        assert one["result"]["label"] == "no_match" and one["result"]["score"] == 0.0 and one["metadata"]["rule"] == place.rule["id"]

        def told(times: int) -> list[Json]:
            found = [each["data"] for each in receiver.messages if each["data"]["rule_id"] == place.rule["id"]]
            assert len(found) >= times
            return found

        first = (await eventually(lambda: told(1), timeout=WAIT_S))[0]
        assert (first["alert"], first["below"], first["name"]) == (name, 0.5, "Polite") and first["value"] < 0.5
        await place.say(*["thanks, please"] * 60)

        async def recovered() -> bool:
            return (await place.figures(name))["crossed"] is False

        await eventually(recovered, timeout=WAIT_S)
        assert len(told(1)) == 1
        await place.say(*["no"] * 200)
        assert len(await eventually(lambda: told(2), timeout=WAIT_S)) == 2
    receiver.server.shutdown()
    receiver.server.server_close()


async def test_spans_that_a_rule_leaves_out(live: LiveStack, client: LlmClient) -> None:
    """The children of roots, running spans, spans of judges' own calls, and those from before the rule."""
    project = f"left out {uuid4().hex[:8]}"
    early = otlp_span(new_trace(), "early", start=now(), output__value="x")
    await client.send(project, early)
    rule = {"annotation": "length", "evaluator": {"type": "latency", "max_ms": 5_000}, "unit": "trace_root", "project": project}
    made = (await client.http.post("/evaluation_rules", json=rule)).json()["data"]
    place = Judged(live, client, project, made)
    await place.known("x")
    trace, own = new_trace(), own_traceparent()[3:35]
    root = otlp_span(trace, "root", start=now() - 7_000_000_000, seconds=6.0)
    spans = [
        root,
        otlp_span(trace, "child", start=now(), parent=root["spanId"]),
        otlp_span(own, "gateway", start=now()),
        otlp_span(new_trace(), "running", start=now(), seconds=None),
    ]
    assert is_own(own)
    await client.send(project, *spans)
    last = otlp_span(new_trace(), "last", start=now())
    await client.send(project, last)
    clickhouse = live.clickhouse()
    try:

        async def traces() -> dict[str, Any]:
            rows = await clickhouse.query("SELECT target, target_id, label FROM annotations FINAL WHERE identifier = {rule:String}", {"rule": made["id"]})
            found = {str(row["target_id"]): (row["target"], row["label"]) for row in rows}
            assert {trace, last["traceId"]} <= found.keys()
            return found

        found = await eventually(traces, timeout=WAIT_S)
    finally:
        await clickhouse.aclose()
    assert found[trace] == ("trace", "over") and found[last["traceId"]] == ("trace", "within")
    assert not {early["traceId"], own, spans[3]["traceId"]} & set(found)
    assert (await client.http.delete(f"/evaluation_rules/{made['id']}")).status_code == 204


def _judge(model: ModelServer, **fields: Any) -> Json:
    choices = {"good": 1.0, "bad": 0.0}
    return {"type": "judge", "base_url": model.base_url, "model": "tiny", "prompt": "Answer: {{output}}", "choices": choices, **fields}


async def test_a_model_judges(live: LiveStack, client: LlmClient) -> None:
    def answer(prompt: str, asked: int) -> Reply:
        if "busy" in prompt and asked == 0:
            return Reply(status=429, headers={"Retry-After": "1"})
        if "broken" in prompt and asked == 0:
            return Reply(status=500)
        if "odd" in prompt:
            return Reply("perhaps")
        if "refused" in prompt:
            return Reply(status=401, body=b'{"error": "no"}')
        if "rubbish" in prompt:
            return Reply(body=b"<html>")
        return Reply("Bad." if "wrong" in prompt else "good", silent_s=0.02)

    with model_server(answer) as model:
        evaluator = _judge(model, concurrency=3, budget={"calls_per_minute": 1_000}, parameters={"temperature": 0})
        async with judged(live, client, evaluator=evaluator) as place:
            await place.known("fine")
            sent = await place.say("wrong one", "busy fine", "broken fine", "odd", "refused", "rubbish", *[f"fine {number}" for number in range(20)])
            figures = await place.all_judged(failures=3)
            said = await place.annotations()
            assert figures["failure_reasons"] == {"not_a_choice": 1, "refused": 1, "bad_answer": 1}
            assert figures["calls"] == len(model.calls) and figures["tokens"] == 105 * (figures["count"] - 2)
            assert said[sent[0]]["result"] == {**said[sent[0]]["result"], "label": "bad", "score": 0.0} and said[sent[0]]["annotator_kind"] == "LLM"
            assert all(said[each]["result"]["label"] == "good" for each in (sent[1], sent[2], *sent[6:]))
            assert not set(sent[3:6]) & set(said)
            assert 1 < model.together <= 3
            prompts = model.prompts()
            assert prompts.count("Answer: busy fine") == 2 and prompts.count("Answer: fine 7") == 1
            assert model.calls[0]["model"] == "tiny" and model.calls[0]["temperature"] == 0
            assert all(is_own(each["traceparent"][3:35]) for each in model.headers) and not any("authorization" in each for each in model.headers)


async def test_a_budget_that_is_used_up_and_a_model_that_hangs(live: LiveStack, client: LlmClient) -> None:
    def answer(prompt: str, _: int) -> Reply:
        return Reply(silent_s=2.0 if "slow" in prompt else 0.0)

    with model_server(answer) as model:
        evaluator = _judge(model, timeout_s=0.5, attempts=1, concurrency=1, budget={"calls_per_minute": 1_000, "calls_per_day": 6})
        async with judged(live, client, evaluator=evaluator) as place:
            await place.say("slow")

            async def reasons() -> Json:
                await place.say("quick")
                found: Json = (await place.figures())["failure_reasons"]
                assert "budget" in found
                return found

            found: Json = await eventually(reasons, timeout=WAIT_S, interval=0.3)
            assert set(found) <= {"budget", "timeout"}
            assert len(model.calls) == 6
            assert len(await place.annotations()) == 6 - found.get("timeout", 0)


async def test_rules_over_http(live: LiveStack, client: LlmClient) -> None:
    http = client.http
    rule = {"annotation": "a", "evaluator": {"type": "equals", "text": "x"}, "enabled": False}
    made = (await http.post("/evaluation_rules", json={**rule, "id": f"r-{uuid4().hex[:8]}"})).json()["data"]
    assert made["sampling_rate"] == 1.0 and made["created_at"] and "tenant" not in made
    assert (await http.get(f"/evaluation_rules/{made['id']}")).json()["data"] == made
    assert (await http.post("/evaluation_rules", json={**rule, "id": made["id"]})).status_code == 409
    changed = (await http.put(f"/evaluation_rules/{made['id']}", json={**rule, "sampling_rate": 0.5})).json()["data"]
    assert changed["sampling_rate"] == 0.5 and changed["created_at"] == made["created_at"] and changed["updated_at"] > made["updated_at"]
    assert made["id"] in [each["id"] for each in await client.listed("/evaluation_rules", limit=1)]
    assert (await http.delete(f"/evaluation_rules/{made['id']}")).status_code == 204
    assert (await http.get(f"/evaluation_rules/{made['id']}")).status_code == 404
    assert (await http.put(f"/evaluation_rules/{made['id']}", json=rule)).status_code == 404


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"evaluator": {"type": "regex", "pattern": "("}}, "pattern: not a regular expression"),
        ({"evaluator": {"type": "regex", "patern": "x"}}, "evaluator.patern: there is no such field; did you mean `pattern`?"),
        ({"evaluator": {"type": "regexp"}}, "evaluator.type: 'regexp' is no evaluator"),
        ({"evaluator": {}}, "is no evaluator"),
        ({"evaluator": {"type": "json_schema", "schema": {"type": "objekt"}}}, "schema: not a JSON schema, at type"),
        ({"evaluator": {"type": "latency", "max_ms": "x"}}, "evaluator.max_ms"),
        ({"filter": "span_kind == "}, "filter: line 1, column"),
        ({"alerts": [{"measure": "mean_score", "bellow": 1}]}, "alerts[0].bellow: there is no such field; did you mean `below`?"),
    ],
)
async def test_what_is_wrong_is_said(client: LlmClient, fields: Json, words: str) -> None:
    rule = {"annotation": "a", "evaluator": {"type": "equals", "text": "x"}, **fields}
    for path, body in (("/evaluation_rules", rule), ("/evaluation_rules/test", {"rule": rule})):
        answer = await client.http.post(path, json=body)
        assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/plain"), answer.text
        assert words in answer.text


async def test_wrong_fields_are_listed(client: LlmClient) -> None:
    answer = await client.http.post("/evaluation_rules", json={"annotation": "", "evaluator": [], "sampling_rate": 2, "unit": "x", "extra": 1})
    assert answer.status_code == 422
    assert {each["loc"][-1] for each in answer.json()["detail"]} == {"annotation", "evaluator", "sampling_rate", "unit", "extra"}


async def test_a_rule_is_tried_on_stored_spans(live: LiveStack, client: LlmClient) -> None:
    project = f"tried {uuid4().hex[:8]}"
    place = Judged(live, client, project, {"id": "test"})
    await place.say("please", "no", "thanks", llm__model_name="m")
    await client.get(f"/projects/{project}")
    await client.send(project, otlp_span(new_trace(), "other", start=now() - 5_000_000_000))
    rule = {"annotation": "a", "project": project, "evaluator": {"type": "regex", "pattern": "please|thank"}}

    async def tried(**body: Any) -> Json:
        answer = await client.http.post("/evaluation_rules/test", json={"rule": rule, **body})
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["spans"] == min(4, body.get("spans", 100))
        return dict(answer.json()["data"])

    found = await eventually(tried, timeout=WAIT_S)
    assert found["applies"] == 4
    outputs = [(place.sent.get(each["span_id"]), each.get("label"), each.get("failure", {}).get("reason")) for each in found["results"]]
    assert sorted(outputs, key=str) == sorted(
        [("please", "match", None), ("no", "no_match", None), ("thanks", "match", None), (None, None, "missing")], key=str
    )
    assert (await tried(spans=2))["applies"] == 2
    with model_server(lambda prompt, _: Reply("bad" if "no" in prompt else "good")) as model:
        rule |= {"evaluator": _judge(model), "filter": "name == 'answer'"}
        shown = await tried()
        assert {each["prompt"] for each in shown["results"]} == {"Answer: please", "Answer: no", "Answer: thanks"} and not model.calls
        asked = await tried(ask_model=True)
        assert {each["prompt"]: each["score"] for each in asked["results"]} == {"Answer: please": 1.0, "Answer: no": 0.0, "Answer: thanks": 1.0}
        rule["evaluator"] = _judge(model, secret="none")
        assert {each["failure"]["reason"] for each in (await tried(ask_model=True))["results"]} == {"secret"}
    assert not await place.annotations(), "trying writes nothing"


async def test_a_rule_from_a_file(live: LiveStack, client: LlmClient) -> None:
    """The kind is known to `millstream apply`."""
    name = f"file-{uuid4().hex[:8]}"
    rule = {"kind": "evaluation_rule", "id": name, "annotation": "a", "evaluator": {"type": "tokens", "max_total": 5}, "enabled": False}
    await asyncio.to_thread(live.define, rule)

    async def there() -> bool:
        return (await client.http.get(f"/evaluation_rules/{name}")).status_code == 200

    await eventually(there, timeout=WAIT_S)
    await asyncio.to_thread(live.define, {"kind": "evaluation_rule", "id": name, "delete": True})

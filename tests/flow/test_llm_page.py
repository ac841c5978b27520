"""The page of the LLM surface in a browser: what it shows of what was sent, and that nothing in it is run."""

import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.flow.browser import CHROMIUM, BrowserPage, browser_page
from tests.flow.llm_client import LlmClient, llm_client, new_trace, now, otlp_span
from tests.flow.stack import KEY, LiveStack

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

HOSTILE = """'"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script><svg onload="window.hacked=1">{{7*7}}</pre>"""
LINK = "javascript:window.hacked=1"


@asynccontextmanager
async def shown(live: LiveStack, *segments: str, prefix: bool = False, **query: str) -> AsyncIterator[BrowserPage]:
    """A browser at an address of the page."""
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    async with browser_page() as page:
        await page.open(f"{live.main_url}/llm#/" if prefix else f"{live.url('llm')}/#/{'/'.join(segments)}?{asked}")
        yield page


async def sent(llm: LlmClient, *spans: dict[str, Any]) -> str:
    """The new project that holds the spans, once they are visible."""
    project = f"page-{uuid.uuid4().hex[:12]}"
    await llm.send(project, *spans)
    assert len(await llm.listed(f"/projects/{project}/spans")) == len(spans)
    return project


def text(selector: str) -> str:
    return f"[...document.querySelectorAll({json.dumps(selector)})].map(each => each.innerText)"


async def test_hostile_spans_stay_text(live: LiveStack) -> None:
    trace, root = new_trace(), os.urandom(8).hex()
    names = [
        "input.value", "output.value", "session.id", "user.id", "tool.name", "llm.model_name", "llm.invocation_parameters", f"metadata.{HOSTILE}", HOSTILE, "__proto__.hacked",
        *(f"llm.{way}_messages.0.message.{name}" for way in ("input", "output") for name in ("role", "content", "name")),
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name", "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments",
        "retrieval.documents.0.document.content", "retrieval.documents.0.document.score", "llm.tools.0.tool.json_schema", "llm.prompt_template.template",
    ]  # fmt: skip
    attributes: dict[str, Any] = dict.fromkeys(names, HOSTILE) | {"llm.input_messages.1.message.contents.0.message_content.image.image.url": LINK}
    span = otlp_span(trace, HOSTILE, start=now(), span_id=root, openinference__span__kind=HOSTILE, **attributes)
    span["events"] = [{"timeUnixNano": str(now()), "name": "exception", "attributes": [{"key": "exception.message", "value": {"stringValue": HOSTILE}}]}]
    span["status"] = {"code": 2, "message": HOSTILE}
    async with llm_client(live) as llm:
        project = await sent(llm, span)
        said = {"span_id": root, "name": HOSTILE, "annotator_kind": "CODE", "result": {"label": HOSTILE, "explanation": HOSTILE}}
        assert (await llm.http.post("/span_annotations", params={"sync": True}, json={"data": [said]})).status_code == 200
        session = (await llm.listed(f"/projects/{project}/sessions"))[0]["id"]
    async with shown(live, "projects", project, "traces", trace) as page:
        assert HOSTILE in await page.until("document.querySelector('.detail h3')?.innerText")
        assert HOSTILE in await page.until("document.querySelector('.said-about:has(.chip)')?.innerText")
        assert HOSTILE in (await page.value(text(".said pre")))
        await page.value("document.querySelectorAll('details').forEach(each => each.open = true)")
        for place, seen in (("traces", "td .name"), ("spans", "td .name"), ("sessions", "td a"), (f"sessions/{session}", ".turns pre"), ("costs", "td, .dim")):
            await page.value(f"location.hash = '#/projects/{project}/{place}'")
            await page.until(f"{text(seen)}.some(each => each.length)")
        assert await page.value("window.hacked ?? ({}).hacked ?? null") is None
        assert await page.value("document.querySelectorAll('main img, main script, [onerror], [onload], [href^=javascript]').length") == 0
        assert page.complaints == []


async def test_a_trace_is_a_waterfall_for_the_keyboard_too(live: LiveStack) -> None:
    trace, start = new_trace(), now()
    root, child, egg, hen = (os.urandom(8).hex() for _ in range(4))
    async with llm_client(live) as llm:
        project = await sent(
            llm,
            otlp_span(trace, "root", start=start, seconds=None, span_id=root, input__value="question"),
            otlp_span(trace, "child", start=start + 1_000, span_id=child, parent=root, status=2),
            otlp_span(trace, "grandchild", start=start + 2_000, parent=child),
            otlp_span(trace, "orphan", start=start + 3_000, parent="00000000000000aa"),
            otlp_span(trace, "egg", start=start + 4_000, span_id=egg, parent=hen),
            otlp_span(trace, "hen", start=start + 5_000, span_id=hen, parent=egg),
        )
        rows = "[...document.querySelectorAll('[role=treeitem]')].map(each => [each.querySelector('.span-name').innerText, +each.ariaLevel])"
        chosen = "document.querySelector('[aria-selected=true] .span-name').innerText"
        async with shown(live, "projects", project, "traces", trace) as page:
            await page.until("document.querySelector('[role=treeitem]')?.isConnected")
            assert await page.value(rows) == [["root", 1], ["child", 2], ["grandchild", 3], ["orphan", 1], ["egg", 1], ["hen", 2]]
            assert await page.value(text(".branch em")) == ["its parent is not stored", "its parents form a circle"]
            assert await page.value(text(".branch:has(.running) .span-name")) == ["root"]
            await page.value("document.querySelector('[role=treeitem]').focus()")
            await page.press("ArrowDown")
            assert await page.value(chosen) == "child" and await page.value("document.activeElement.ariaSelected") == "true"
            await page.press("ArrowLeft")
            assert [name for name, _ in await page.value(rows)] == ["root", "child", "orphan", "egg", "hen"]
            await page.press("ArrowLeft")
            assert await page.value(chosen) == "root"
            await llm.send(project, otlp_span(trace, "root", start=start, seconds=2.0, span_id=root, output__value="an answer at last"))
            await page.until("document.querySelector('.detail').innerText.includes('an answer at last') && !document.querySelector('.branch .running')")
            assert page.complaints == []


async def test_spans_are_found_by_words_and_by_filter(live: LiveStack) -> None:
    trace, word = new_trace(), f"w{uuid.uuid4().hex}"
    async with llm_client(live) as llm:
        spans = [
            otlp_span(trace, name, start=now(), input__value=said, openinference__span__kind="LLM")
            for name, said in (("one", f"about {word}"), ("two", "else"))
        ]
        project = await sent(llm, *spans)
    async with shown(live, "projects", project, "spans") as page:
        await page.until(f"{text('tbody a')}.length === 2")

        async def search(by: str, words: str) -> None:
            await page.value(
                f"(() => {{ const [by] = document.querySelectorAll('main form select'), words = document.querySelector('main form input');"
                f" by.value = '{by}'; words.value = {json.dumps(words)}; document.querySelector('main form').requestSubmit() }})()"
            )

        await search("q", word)
        await page.until(f"JSON.stringify({text('tbody a')}) === '[\"one\"]'")
        await search("filter", "name == 'two' and span_kind == 'LLM'")
        await page.until(f"JSON.stringify({text('tbody a')}) === '[\"two\"]'")
        assert page.complaints == []
        await search("filter", "name == 'two' or and")
        lines = (await page.until("document.querySelector('#fault pre')?.innerText")).split("\n")
        problem = await page.value("document.querySelector('#fault p').innerText")
        assert lines[0] == "name == 'two' or and" and lines[1] == " " * 17 + "^" and "column 18" in problem


async def test_people_annotate(live: LiveStack) -> None:
    trace, span_id = new_trace(), os.urandom(8).hex()
    async with llm_client(live) as llm:
        project = await sent(llm, otlp_span(trace, "answer", start=now(), span_id=span_id))
        async with shown(live, "projects", project, "traces", trace) as page:
            await page.until("document.querySelector('.annotate')?.isConnected")
            for name, score, words in (("correctness", "0.5", "half of it"), ("note", "", "look again")):
                fields = json.dumps([name, "", score])
                await page.value(
                    f"(() => {{ const form = document.querySelector('.annotate'), given = {fields}; form.querySelectorAll('input').forEach((each, at) => each.value = given[at]);"
                    f" form.querySelector('textarea').value = '{words}'; form.requestSubmit() }})()"
                )
                await page.until(f"document.querySelector('.said-about').innerText.includes('{words}')")
            assert page.complaints == []
        found = await llm.listed(f"/projects/{project}/span_annotations", span_ids=span_id)
    assert {(each["name"], each["annotator_kind"], each["result"]["score"]) for each in found} == {("correctness", "HUMAN", 0.5), ("note", "HUMAN", None)}


async def test_two_experiments_are_compared_with_their_intervals(live: LiveStack) -> None:
    async with llm_client(live) as llm:
        inputs = [{"question": f"{number} + 1"} for number in range(20)]
        body = {"name": f"page-{uuid.uuid4().hex}", "inputs": inputs, "outputs": [{"answer": number + 1} for number in range(20)]}
        dataset = (await llm.http.post("/datasets/upload", params={"sync": True}, json=body)).json()["data"]["dataset_id"]
        examples = (await llm.get(f"/datasets/{dataset}/examples")).json()["data"]["examples"]
        ids = []
        for worth in (0.2, 0.9):
            ids.append((await llm.http.post(f"/datasets/{dataset}/experiments", json={"name": f"worth {worth}"})).json()["data"]["id"])
            for at, example in enumerate(examples):
                times = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z"}
                run = {"dataset_example_id": example["node_id"], "output": HOSTILE, "repetition_number": 1, **times}
                run_id = (await llm.http.post(f"/experiments/{ids[-1]}/runs", json=run)).json()["data"]["id"]
                judged = {"experiment_run_id": run_id, "name": "quality", "annotator_kind": "CODE", "result": {"score": worth + at % 3 / 100 * worth}, **times}
                assert (await llm.http.post("/experiment_evaluations", json=judged)).status_code == 200
    async with browser_page() as page:
        # The address that the client prints.
        await page.open(f"{live.url('llm')}/datasets/{dataset}/compare?experimentId={ids[1]}")
        words = await page.until("document.querySelector('.readings article')?.innerText")
        assert words.startswith("quality higher") and "20 examples: 20 higher, 0 lower" in words
        spans = await page.value("[...document.querySelectorAll('.interval')].map(each => [+each.getAttribute('x1'), +each.getAttribute('x2')])")
        zero = await page.value("+document.querySelector('.zero').getAttribute('x1')")
        assert len(spans) == 2 and all(zero < low < high for low, high in spans) and spans[0][0] < spans[1][0]
        assert await page.value(f"{text('tbody tr')}.length") == 20
        assert await page.value("window.hacked ?? null") is None and page.complaints == []


async def test_a_wrong_key_is_asked_for_again(live: LiveStack) -> None:
    async with shown(live, prefix=True) as page:
        await page.until("location.pathname === '/llm/' && document.querySelector('tbody a')?.isConnected")
        for key, seen in (
            ("ms_wrong", "!document.querySelector('#gate').hidden"),
            (KEY, "document.querySelector('#gate').hidden && document.querySelector('tbody a')?.isConnected"),
        ):
            await page.value(f"document.querySelector('#key').value = '{key}'; document.querySelector('#enter').requestSubmit()")
            await page.until(seen)
        assert await page.value("sessionStorage.getItem('millstream-key')") == KEY

"""The page of the crucible surface in a browser: signing in, experiments and their runs as they go on, statistical tests, and that no data is run."""

import asyncio
import json
import shlex
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.flow.browser import CHROMIUM, BrowserPage, browser_page
from tests.flow.crucible_client import crucible_client, event
from tests.flow.stack import KEY, LiveStack

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

HOSTILE = """'"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>{{7*7}}"""
EPOCH = ["crucible_train", "epoch", "stop"]


@asynccontextmanager
async def signed_in(live: LiveStack, *segments: str, prefix: bool = False) -> AsyncIterator[BrowserPage]:
    """A browser at an address of the page, after its key was given."""
    async with browser_page() as page:
        await page.open(f"{live.main_url}/crucible" if prefix else live.url("crucible"))
        await enter(page, KEY)
        await page.until("document.querySelector('#gate').hidden && document.querySelector('.title')?.isConnected")
        await page.until("!document.querySelector('#forget').hidden")
        # That nobody was signed in at first is not what a test complains of.
        page.complaints.clear()
        await go(page, *segments)
        yield page


async def enter(page: BrowserPage, key: str) -> None:
    await page.until("document.querySelector('#gate')?.hidden === false")
    await page.value(f"document.querySelector('#key').value = '{key}'; document.querySelector('#enter').requestSubmit()")


async def go(page: BrowserPage, *segments: str) -> None:
    await page.value(f"location.hash = '#/' + {json.dumps(segments)}.map(encodeURIComponent).join('/')")


async def press(page: BrowserPage, label: str) -> None:
    """Press the button of that name once it is there."""
    await page.until(
        f"(() => {{ const found = document.querySelector('[aria-label=' + CSS.escape({json.dumps(label)}) + ']'); found?.click(); return !!found }})()"
    )


def text(selector: str) -> str:
    return f"[...document.querySelectorAll({json.dumps(selector)})].map(each => each.innerText)"


def epoch(number: int, experiment: str, run: str, **measured: float) -> list[dict[str, Any]]:
    """What a run sends at the end of an epoch: what it measured, and a line of its log."""
    at = (datetime.now(UTC) - timedelta(seconds=100 - number)).isoformat()
    of = {"experiment_id": experiment, "run_id": run}
    return [
        event(EPOCH, at, {"epoch": number, **measured}, **of, hyperparameters={"epochs": 10}),
        event(["crucible", "log"], at, {}, **of, message=f"epoch {number} of 10"),
    ]


@pytest.mark.parametrize("prefix", [False, True], ids=["own port", "main port"])
async def test_a_key_is_given_once_and_not_kept(live: LiveStack, prefix: bool) -> None:
    """crucible.auth.session_cookie"""
    async with browser_page() as page:
        await page.open(f"{live.main_url}/crucible" if prefix else live.url("crucible"))
        await enter(page, "ms_wrong")
        assert "not valid" in await page.until("document.querySelector('#why').innerText")
        await enter(page, KEY)
        await page.until("document.querySelector('#gate').hidden && document.querySelector('#main form')?.isConnected")
        assert await page.value("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"
        assert await page.value("document.documentElement.outerHTML") != "" and KEY not in await page.value("document.documentElement.outerHTML")
        await page.ask("Page.reload")
        await page.until("document.querySelector('#link span')?.innerText === 'live'")
        assert await page.value("document.querySelector('#gate').hidden")
        await page.value("document.querySelector('#forget').click()")
        await page.until("!document.querySelector('#gate').hidden && !document.querySelector('#main').children.length")
        await page.ask("Page.reload")
        await page.until("document.querySelector('#gate')?.hidden === false")


async def test_an_experiment_is_made_and_moved(live: LiveStack) -> None:
    """crucible.experiments.create, crucible.experiments.start, .pause, .resume, .cancel"""
    name = f"page-{uuid.uuid4().hex[:10]}"
    state = "document.querySelector('#main .state')?.innerText"
    async with signed_in(live) as page:
        await page.until("document.querySelector('#main form')?.isConnected")
        await page.value(f"document.querySelector('#main form input').value = '{name}'; document.querySelector('#main form').requestSubmit()")
        await page.until(f"document.title.startsWith('{name}') && {state} === 'pending'")
        for words, reached in (("Start", "running"), ("Pause", "paused"), ("Resume", "running")):
            await press(page, f"{words} {name}")
            await page.until(f"{state} === '{reached}'")
        await press(page, f"Cancel {name}")
        await press(page, f"Cancel {name} for good?")
        await page.until(f"{state} === 'cancelled' && !document.querySelector('.moves button')")
        await go(page, "experiments")
        await page.until(f"{text('tbody tr')}.some(each => each.includes('{name}') && each.includes('cancelled'))")
        assert page.complaints == []


async def test_a_line_for_a_shell_begins_where_nothing_is(live: LiveStack) -> None:
    name = f"page-{uuid.uuid4().hex[:10]}"
    async with crucible_client(live) as crucible:
        experiment = await crucible.experiment(name)
    async with signed_in(live, "experiments", experiment, prefix=True) as page:
        line = await page.until(
            "[...document.querySelectorAll('#main pre')].find(each => each.innerText.startsWith('curl') && each.checkVisibility())?.innerText"
        )
        _, address, *given = shlex.split(line.replace("\\\n", ""))
        options = dict(zip(given[::2], given[1::2], strict=True))
        async with httpx.AsyncClient() as http:
            sent = await http.post(address, content=options["-d"], headers={**live.headers, "Content-Type": "application/json"})
        assert sent.status_code == 202 and sent.json()["data"]["accepted"] == 1, sent.text
        await page.until(f"{text('tbody td:first-child')}.includes('run_1')")
        assert page.complaints == []


async def test_runs_are_followed(live: LiveStack) -> None:
    """crucible.ws.experiment.progress_updated, crucible.ws.telemetry.event"""
    run = f"run-{uuid.uuid4().hex[:10]}"
    points = "[...document.querySelectorAll('figure')].map(each => [each.querySelector('b').innerText, each.querySelector('polyline').points.numberOfItems])"
    async with crucible_client(live) as crucible:
        experiment = await crucible.experiment(f"page-{run}")
        await crucible.send(*(sent for number in (1, 2) for sent in epoch(number, experiment, run, train_loss=1 / number, accuracy=number / 20)))
        await crucible.data(f"/runs/{run}")
        async with signed_in(live, "experiments", experiment) as page:
            await page.until("document.querySelector('progress')?.value === 0.2 && document.querySelector('#link').innerText.trim() === 'live'")
            await crucible.send(*epoch(3, experiment, run, train_loss=1 / 3, accuracy=0.15))
            await page.until("document.querySelector('progress').value === 0.3")
            await go(page, "runs", run)
            await page.until(f"JSON.stringify({points}) === JSON.stringify([['accuracy', 3], ['train_loss', 3]])")
            await crucible.send(*epoch(4, experiment, run, train_loss=1 / 4, accuracy=0.2))
            await page.until(f"JSON.stringify({points}) === JSON.stringify([['accuracy', 4], ['train_loss', 4]])")
            assert [line.rsplit(" ", 4)[1:] for line in await page.value(text(".log li"))] == [["epoch", str(number), "of", "10"] for number in (1, 2, 3, 4)]
            said = "document.querySelector('figure output').innerText"
            assert await page.value(said) == "0.2 at epoch 4"
            await page.value("document.querySelector('figure svg').focus()")
            await page.press("ArrowLeft")
            assert await page.value(said) == "0.15 at epoch 3"
            assert page.complaints == []


async def test_a_lost_connection_is_opened_again(live: LiveStack) -> None:
    """crucible.ws.connect"""
    async with signed_in(live, "experiments") as page:
        await page.until("document.querySelector('#link').innerText.trim() === 'live'")
        seen = "(window.seen ??= [], window.watch ??= new MutationObserver(() => seen.push(document.querySelector('#link span').textContent)), 0)"
        await page.value(seen)
        await page.value("watch.observe(document.querySelector('#link'), {subtree: true, childList: true, characterData: true}); 0")
        await asyncio.to_thread(live.kill, "query")
        await asyncio.to_thread(live.restart, "query")
        await page.until("seen.includes('connection lost, trying again') && seen.at(-1) === 'live'")


async def test_groups_are_compared_with_a_plot(live: LiveStack) -> None:
    """crucible.stats.run"""
    async with crucible_client(live) as crucible:
        experiment = await crucible.experiment(f"page-{uuid.uuid4().hex[:10]}")
        at = datetime.now(UTC).isoformat()
        await crucible.send(
            *(
                event(["crucible", "judged"], at, {"quality": worth + number % 5 / 100}, experiment_id=experiment, model=model)
                for model, worth in ((HOSTILE, 0.9), ("model_b", 0.8))
                for number in range(20)
            )
        )
        assert len(await crucible.data("/telemetry/events", **{"filter[experiment_id]": experiment})) == 25
    async with signed_in(live, "experiments", experiment) as page:
        await page.value(f"location.hash = '#/tests?experiment={experiment}'")
        await page.until(f"{text('.test .metrics button')}.length === 2")
        assert await page.value("[...document.querySelectorAll('#metric-names option')].map(each => each.value)") == ["quality"]
        for name in (HOSTILE, "model_b"):
            await page.value(f"[...document.querySelectorAll('.test .metrics button')].find(each => each.innerText === {json.dumps(f'{name} (20)')}).click()")
        await page.value("document.querySelector('[list=metric-names]').value = 'quality'; document.querySelector('.test').requestSubmit()")
        assert f"higher for {HOSTILE}" in await page.until("document.querySelector('#main section p:nth-child(2)')?.innerText")
        bars = await page.value("[...document.querySelectorAll('.interval')].map(each => [+each.getAttribute('x1'), +each.getAttribute('x2')])")
        zero = await page.value("[...document.querySelectorAll('.zero')].map(each => +each.getAttribute('x1'))")
        assert len(bars) == 2 and len(zero) == 2 and all(zero[0] < low < high for low, high in bars)
        assert await page.value(text("tbody td:first-child")) == [HOSTILE, "model_b"]
        await page.value(f"location.hash = '#/tests?experiment={experiment}'")
        await page.until(f"{text('.test .metrics button')}.length === 2")
        await page.value("document.querySelector('textarea').value = 'model_b\\nmodel_c'; document.querySelector('[list=metric-names]').value = 'quality'; 0")
        await page.value("document.querySelector('.test').requestSubmit()")
        assert "no group model_c" in await page.until("document.querySelector('#problem').innerText")


async def test_hostile_data_stays_text(live: LiveStack) -> None:
    # Without a slash, since an id is one part of a path.
    run = f"{HOSTILE.replace('/', '')} {uuid.uuid4().hex[:10]}"
    async with crucible_client(live) as crucible:
        experiment = await crucible.experiment(HOSTILE, description=HOSTILE, tags=["a<b>"], config={HOSTILE: HOSTILE})
        at = datetime.now(UTC).isoformat()
        of = {"experiment_id": experiment, "run_id": run}
        await crucible.send(
            event(EPOCH, at, {"epoch": 1, HOSTILE: 1.5}, **of, hyperparameters={HOSTILE: HOSTILE}),
            event(["crucible", "log"], at, {}, **of, message=HOSTILE, level="error"),
            event(["crucible_train", "checkpoint", "saved"], at, {"epoch": 1}, **of, checkpoint_id=HOSTILE, path=f"javascript:{HOSTILE}"),
        )
        assert (await crucible.data("/runs", **{"filter[experiment_id]": experiment}))[0]["checkpoints"]
    async with signed_in(live, "experiments", experiment) as page:
        for place, seen in (
            (("experiments", experiment), "tbody td:first-child"),
            (("runs", run), ".log li"),
            (("runs",), "tbody td"),
            (("experiments",), "tbody td"),
        ):
            await go(page, *place)
            await page.until(f"{text(seen)}.some(each => each.includes('window.hacked'))")
            await page.value("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert await page.value("document.querySelectorAll('main img, main script, [onerror], [href^=javascript]').length") == 0
        assert await page.value("window.hacked ?? null") is None and page.complaints == []


async def test_it_fits_a_narrow_screen(live: LiveStack) -> None:
    run = f"run-{uuid.uuid4().hex[:40]}"
    async with crucible_client(live) as crucible:
        experiment = await crucible.experiment("page " + "long " * 20, description="words " * 40)
        await crucible.send(
            *(sent for number in (1, 2) for sent in epoch(number, experiment, run, **{f"metric_{letter}": number / 7 for letter in "abcdefgh"}))
        )
        await crucible.data(f"/runs/{run}")
    async with signed_in(live) as page:
        await page.ask("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
        for place, seen in (
            (("experiments",), "tbody tr"),
            (("experiments", experiment), "progress"),
            (("runs", run), "figure"),
            (("tests",), ".test"),
        ):
            await go(page, *place)
            await page.until(f"document.querySelector({json.dumps(seen)})?.checkVisibility()")
            assert await page.value("document.documentElement.scrollWidth") <= 400, place
        await page.value("document.querySelector('.skip').click()")
        assert await page.value("document.activeElement.id") == "main" and await page.value("location.hash") == "#/tests"

"""Reading LLM spans: a day of them stored and more arriving, with the addresses that the clients of Arize Phoenix use, here and there."""

import asyncio
import itertools
import json
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, overload

import httpx
import pytest
import uvloop

from tests.bench import llm_spans, load, peer
from tests.bench.figures import Figure, Figures, percentile, tell
from tests.bench.llm_history import bodies, fill
from tests.bench.llm_spans import PROJECT, SPANS, USERS, Requests
from tests.bench.stack import BenchStack, running
from tests.environments import environment

STORED: Final = int(os.environ.get("BENCH_LLM_SPANS", "5000000"))
PEER_STORED: Final = int(os.environ.get("BENCH_LLM_PEER_SPANS", "200000"))
LOADING_S: Final = 240.0
"""What is not loaded by then is left out, and the conditions of each figure say how many spans there were."""
ARRIVING: Final = 10_000
"""Spans a second while this system is read."""
REPEATS: Final = 60
PEER_REPEATS: Final = 15
FRAME: Final = 100_000
FRAME_TIMES: Final = 3
SLOWEST_S: Final = 60.0
"""An answer that takes longer counts as one that never comes."""

MARKS_MS: Final = {"newest": 100.0, "trace": 50.0, "attribute": 300.0, "sessions": 200.0, "frame": 5_000.0}
WHAT: Final = {
    "newest": "the newest 100 spans of a project",
    "trace": "the spans of one trace",
    "attribute": "100 spans of a day by an attribute, in turn a topic that 4 % of the spans have and a user that 0.2 % have",
    "sessions": "the newest 100 sessions",
    "frame": f"{FRAME} spans as a DataFrame through arize-phoenix-client",
}
_CLIENTS: Final = Path(__file__).parents[1] / "clients" / "phoenix_env" / "requirements.lock"
_FRAME_SCRIPT: Final = Path(__file__).parent / "phoenix_env" / "dataframe.py"

Times = dict[str, list[float]]
"""Seconds of each answer by what was asked."""


def _questions(traces: Sequence[str]) -> Iterator[dict[str, httpx.QueryParams]]:
    """Parameters of each question, again and again, never the same trace or user twice in a row."""
    day_ago = datetime.now(UTC) - timedelta(days=1)
    for number in itertools.count():
        name, value = ("app.topic", llm_spans.TOPICS[number % 5]) if number % 2 else ("user.id", f"user-{number * 37 % USERS}")
        yield {
            "newest": httpx.QueryParams(limit=100),
            "trace": httpx.QueryParams(trace_id=traces[number % len(traces)], limit=1_000),
            "attribute": httpx.QueryParams(limit=100, start_time=day_ago.isoformat(), attribute=f"{name}:{json.dumps(value)}"),
            "sessions": httpx.QueryParams(limit=100),
        }


async def _ask(url: str, headers: dict[str, str], traces: Sequence[str], repeats: int) -> Times:
    """One question after the other, on one connection. Raises RuntimeError for an answer that is empty or an error."""
    times: Times = {}
    questions = _questions(traces)
    async with httpx.AsyncClient(base_url=f"{url}/v1/projects/{PROJECT}", headers=headers, timeout=SLOWEST_S) as http:
        for turn in range(repeats + 1):
            for what, params in next(questions).items():
                started = time.perf_counter()
                answer = await http.get("/sessions" if what == "sessions" else "/spans", params=params)
                seconds = time.perf_counter() - started
                if answer.status_code != 200 or not answer.json()["data"]:
                    raise RuntimeError(f"{what}: {answer.status_code} {answer.text[:300]}")
                # The first turn opens the connection and warms what is cached.
                if turn:
                    times.setdefault(what, []).append(seconds)
    return times


def _frames(url: str, key: str, times: int) -> list[float]:
    """Seconds of each reading of a DataFrame by the unmodified client in a process of its own."""
    try:
        python = environment("phoenix", _CLIENTS)
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        raise RuntimeError(str(error)) from None
    env = {**os.environ, "PHOENIX_API_KEY": key}
    done = subprocess.run([str(python), str(_FRAME_SCRIPT), url, str(FRAME), str(times)], env=env, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"the client failed: {done.stderr.strip()[-1_000:]}")
    found = [line.split() for line in done.stdout.splitlines()]
    if any(int(rows) != FRAME for rows, _ in found):
        raise RuntimeError(f"the client got {found[0][0]} of {FRAME} spans")
    return [float(seconds) for _, seconds in found]


def _frames_or_none(url: str, key: str, times: int) -> Times:
    """The same, without a figure and saying why when the client got no DataFrame."""
    try:
        return {"frame": _frames(url, key, times)}
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        tell(f"no DataFrame from {url}: {error}")
        return {}


class _Endless(Sequence[bytes]):
    """Requests made when they are sent, so that no two are the same."""

    def __init__(self, requests: Requests, key: str) -> None:
        self._requests = requests
        self._key = key

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            raise TypeError("requests are made one by one")
        return load.request("/v1/traces", self._requests.body(time.time_ns()), self._key, "application/x-protobuf")

    def __len__(self) -> int:
        return 1


def _send(port: int, key: str, rate: float) -> None:
    uvloop.run(load.run("127.0.0.1", port, _Endless(Requests(8, seed=5), key), int(rate * 3_600), 8, rate=rate))


@contextmanager
def arriving(stack: BenchStack) -> Iterator[None]:
    """Spans arrive from another process meanwhile."""
    sender = multiprocessing.get_context("spawn").Process(target=_send, args=(stack.ports["llm"], stack.key, ARRIVING / SPANS), daemon=True)
    sender.start()
    try:
        yield
        if not sender.is_alive():
            raise RuntimeError("sending spans beside the reads failed")
    finally:
        sender.terminate()
        sender.join()


@dataclass(frozen=True)
class _Ours:
    """What reading this system came to."""

    times: Times
    cost_ages: list[float]
    """Seconds since the windows of cost of the project were computed last, looked at once a second."""
    stored: int
    """Spans before."""
    arrived: float
    """Spans a second meanwhile."""


async def _ours(stack: BenchStack) -> _Ours:
    clickhouse = stack.clickhouse()
    try:
        stored = await fill(clickhouse, Requests(), STORED, LOADING_S)
        found = await clickhouse.query("SELECT DISTINCT trace_id FROM spans WHERE cityHash64(trace_id) % 1000 = 7 LIMIT 200")
    finally:
        await clickhouse.aclose()
    with arriving(stack):
        await _counted(stack, stored + 5 * ARRIVING)
        started, before = time.perf_counter(), await _count(stack)
        tell(f"asking, with {stored} spans stored and more arriving")
        cost_ages: list[float] = []
        looking = asyncio.create_task(_look_at_costs(stack, cost_ages))
        times = await _ask(f"http://127.0.0.1:{stack.ports['llm']}", {"Authorization": f"Bearer {stack.key}"}, [row["trace_id"] for row in found], REPEATS)
        times |= await asyncio.to_thread(_frames_or_none, f"http://127.0.0.1:{stack.ports['llm']}", stack.key, FRAME_TIMES)
        arrived = (await _count(stack) - before) / (time.perf_counter() - started)
        looking.cancel()
    return _Ours(times, cost_ages, stored, arrived)


async def _look_at_costs(stack: BenchStack, ages: list[float]) -> None:
    clickhouse = stack.clickhouse()
    try:
        while True:
            (row,) = await clickhouse.query(
                "SELECT count() AS n, toUnixTimestamp64Micro(max(computed_at)) AS at FROM windows_cost WHERE subject = {subject:String} AND grain = 'all'",
                {"subject": f"project={PROJECT}"},
            )
            if int(row["n"]):
                ages.append(time.time() - int(row["at"]) / 1e6)
            await asyncio.sleep(1)
    finally:
        await clickhouse.aclose()


async def _count(stack: BenchStack) -> int:
    clickhouse = stack.clickhouse()
    try:
        return int((await clickhouse.query("SELECT count() AS n FROM spans"))[0]["n"])
    finally:
        await clickhouse.aclose()


async def _counted(stack: BenchStack, wanted: int) -> None:
    deadline = time.monotonic() + 60
    while await _count(stack) < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError("the spans that arrive beside the reads are not stored")
        await asyncio.sleep(0.2)


def _theirs() -> tuple[str, Times]:
    with peer.running() as server:
        server.stop()
        tell(f"loading {PEER_STORED} spans into Arize Phoenix")
        server.load(bodies(Requests(), PEER_STORED))
        server.start()
        tell("asking it")
        traces = server.column("SELECT trace_id FROM traces ORDER BY id DESC LIMIT 20000")[::100]
        times = asyncio.run(_ask(server.url, {}, traces, PEER_REPEATS))
        return server.version, times | _frames_or_none(server.url, "", 1)


def llm_reads() -> Figures:
    """p95 of each question, and how old the cost of the project is meanwhile."""
    with running() as stack:
        ours = asyncio.run(_ours(stack))
    version, theirs = _theirs()
    beside = f"{ours.stored} spans stored, {ours.arrived:.0f} spans/s arriving"
    figures: Figures = {}
    for what, values in ours.times.items():
        value, known = percentile(values, 0.95) * 1e3, theirs.get(what)
        reference = percentile(known, 0.95) * 1e3 if known else None
        said = f"{reference:.0f} ms" if reference else "no answer"
        figures[f"llm_read_{what}"] = Figure(
            value,
            "ms",
            f"Arize Phoenix {version}, {PEER_STORED} spans, nothing arriving: {said}",
            value / reference if reference else None,
            f"{WHAT[what]}: p95 of {len(values)}, median {percentile(values, 0.5) * 1e3:.0f} ms; mark {MARKS_MS[what]:.0f} ms; {beside}",
        )
    if ours.cost_ages:
        figures["llm_cost_age"] = Figure(
            percentile(ours.cost_ages, 0.95),
            "s",
            "",
            None,
            f"since the cost of the project was computed last: p95 of {len(ours.cost_ages)} looks, median {percentile(ours.cost_ages, 0.5):.1f} s; {beside}",
        )
    return figures

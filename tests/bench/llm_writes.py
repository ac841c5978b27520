"""Writing what belongs to LLM spans: datasets and annotations, here and with Arize Phoenix by the same requests."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from tests.bench import load, peer
from tests.bench.figures import Figure, Figures, percentile, tell
from tests.bench.llm_ingest import prepared
from tests.bench.llm_spans import PROJECT, SPANS, Requests
from tests.bench.references import wait_for_rows
from tests.bench.stack import BenchStack, running

EXAMPLES: Final = 100_000
PEER_EXAMPLES: Final = 20_000
ANNOTATED: Final = 2_000
"""Spans that are annotated, each several times under different names."""
BATCH: Final = 200
BATCHES: Final = 1_000
PEER_BATCHES: Final = 25
CONNECTIONS: Final = 8
VISIBLE_TIMES: Final = 100
PEER_VISIBLE_TIMES: Final = 20
DEADLINE_S: Final = 240.0

_names: Final = itertools.count()


def examples(count: int) -> bytes:
    """An upload of so many questions with answers and metadata, about 250 bytes each."""
    rnd = random.Random(2)
    inputs = [
        {"question": f"Where is order {rnd.randrange(10**8):08d}, and when does it arrive in {rnd.choice(('Oslo', 'Lyon', 'Graz'))}?"} for _ in range(count)
    ]
    outputs = [
        {"answer": f"It left on day {number % 365} and takes {rnd.randrange(1, 9)} days; the carrier has the number {number}."} for number in range(count)
    ]
    metadata = [{"topic": rnd.choice(("shipping", "billing")), "difficulty": rnd.randrange(5)} for _ in range(count)]
    return json.dumps({"action": "create", "name": f"bench-{next(_names)}", "inputs": inputs, "outputs": outputs, "metadata": metadata}).encode()


def upload_seconds(url: str, headers: dict[str, str], count: int) -> float:
    """From the request to the acknowledged version of the dataset, which must have them all."""
    body = examples(count)
    tell(f"uploading {count} examples, {len(body) / 1e6:.0f} MB, to {url}")
    with httpx.Client(base_url=url, headers={"Content-Type": "application/json", **headers}, timeout=DEADLINE_S) as http:
        started = time.perf_counter()
        answer = http.post("/v1/datasets/upload", params={"sync": "true"}, content=body)
        seconds = time.perf_counter() - started
        if answer.status_code != 200:
            raise RuntimeError(f"the upload of {count} examples: {answer.status_code} {answer.text[:300]}")
        stored = http.get(f"/v1/datasets/{answer.json()['data']['dataset_id']}").json()["data"]["example_count"]
    if stored != count:
        raise RuntimeError(f"the dataset has {stored} of {count} examples")
    return seconds


def annotations(spans: list[str], batches: int) -> list[bytes]:
    """Bodies of batches; every annotation is another one: of a span, under a name."""
    places = ((span, f"quality-{round}") for round in itertools.count() for span in spans)
    bodies = []
    for _ in range(batches):
        batch = [_annotation(span, name) for span, name in itertools.islice(places, BATCH)]
        bodies.append(json.dumps({"data": batch}).encode())
    return bodies


def _annotation(span: str, name: str) -> dict[str, Any]:
    return {
        "span_id": span,
        "name": name,
        "annotator_kind": "CODE",
        "result": {"label": "good", "score": 0.75, "explanation": "the answer names the order and the day"},
        "metadata": {"run": 1},
    }


def annotations_per_second(port: int, key: str, bodies: list[bytes], stored: Callable[[int], float]) -> float:
    """Annotations from the first request to the last counted in the store."""
    requests = [load.request("/v1/span_annotations?sync=false", body, key) for body in bodies]
    outcome = asyncio.run(load.run("127.0.0.1", port, requests, len(requests), CONNECTIONS))
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"not every batch of annotations was acknowledged: {outcome.statuses}")
    return len(bodies) * BATCH / (outcome.seconds + stored(len(bodies) * BATCH))


def visible_seconds(url: str, headers: dict[str, str], spans: list[str], times: int) -> list[float]:
    """From sending an annotation to the first answer that shows it, asked one question after the other."""
    found = []
    with httpx.Client(base_url=url, headers=headers, timeout=DEADLINE_S) as http:
        for number in range(times):
            span, name = spans[number % len(spans)], f"fresh-{number}"
            started = time.perf_counter()
            http.post("/v1/span_annotations", params={"sync": "false"}, json={"data": [_annotation(span, name)]}).raise_for_status()
            params = {"span_ids": span, "include_annotation_names": name}
            while not (answer := http.get(f"/v1/projects/{PROJECT}/span_annotations", params=params)).json()["data"]:
                if time.perf_counter() - started > DEADLINE_S:
                    raise TimeoutError(f"the annotation is not shown: {answer.text[:300]}")
                time.sleep(0.002)
            found.append(time.perf_counter() - started)
    return found


Measured = tuple[float, float, list[float]]
"""Seconds of an upload, annotations per second, seconds until an annotation is shown."""


def _ours(stack: BenchStack) -> Measured:
    port, headers = stack.ports["llm"], {"Authorization": f"Bearer {stack.key}"}
    url = f"http://127.0.0.1:{port}"
    requests = prepared(Requests(2), ANNOTATED // SPANS, stack.key)
    asyncio.run(load.run("127.0.0.1", port, requests, len(requests), 2))
    spans = asyncio.run(_stored_spans(stack))
    visible = visible_seconds(url, headers, spans, VISIBLE_TIMES)
    before = VISIBLE_TIMES
    tell(f"sending {BATCHES * BATCH} annotations to Millstream")
    rate = annotations_per_second(port, stack.key, annotations(spans, BATCHES), lambda wanted: asyncio.run(_counted(stack, before + wanted)))
    return upload_seconds(url, headers, EXAMPLES), rate, visible


async def _stored_spans(stack: BenchStack) -> list[str]:
    clickhouse = stack.clickhouse()
    try:
        await wait_for_rows(clickhouse, "spans", ANNOTATED)
        return [str(row["span_id"]) for row in await clickhouse.query("SELECT span_id FROM spans ORDER BY span_id")]
    finally:
        await clickhouse.aclose()


async def _counted(stack: BenchStack, wanted: int) -> float:
    clickhouse = stack.clickhouse()
    try:
        return await wait_for_rows(clickhouse, "annotations FINAL", wanted, DEADLINE_S)
    finally:
        await clickhouse.aclose()


def _theirs() -> tuple[str, Measured]:
    with peer.running() as server:
        requests = prepared(Requests(2), ANNOTATED // SPANS, "none")
        asyncio.run(load.run("127.0.0.1", server.port, requests, len(requests), 2))
        server.wait_for("spans", ANNOTATED, DEADLINE_S)
        spans = [str(span) for span in server.column("SELECT span_id FROM spans ORDER BY span_id")]
        visible = visible_seconds(server.url, {}, spans, PEER_VISIBLE_TIMES)
        tell(f"sending {PEER_BATCHES * BATCH} annotations to Arize Phoenix {server.version}")
        bodies = annotations(spans, PEER_BATCHES)
        rate = annotations_per_second(server.port, "none", bodies, lambda wanted: server.wait_for("span_annotations", PEER_VISIBLE_TIMES + wanted, DEADLINE_S))
        return server.version, (upload_seconds(server.url, {}, PEER_EXAMPLES), rate, visible)


def llm_writes() -> Figures:
    """Examples and annotations per second, and how soon an annotation is shown."""
    with running() as stack:
        upload, rate, visible = _ours(stack)
    version, (peer_upload, peer_rate, peer_visible) = _theirs()
    per_second, peer_per_second = EXAMPLES / upload, PEER_EXAMPLES / peer_upload
    name, soon, peer_soon = f"Arize Phoenix {version}", percentile(visible, 0.95) * 1e3, percentile(peer_visible, 0.95) * 1e3
    return {
        "llm_dataset_examples": Figure(
            per_second, "examples/s", f"{name}, {PEER_EXAMPLES} examples, {peer_per_second:.0f}/s", per_second / peer_per_second,
            f"one JSON upload of {EXAMPLES} examples of 250 bytes in {upload:.1f} s, acknowledged and counted",
        ),
        "llm_annotations": Figure(
            rate, "annotations/s", f"{name}, {PEER_BATCHES * BATCH} annotations, {peer_rate:.0f}/s", rate / peer_rate,
            f"{BATCHES * BATCH} annotations of {ANNOTATED} spans, sync=false, batches of {BATCH}, {CONNECTIONS} connections, to counted in the table",
        ),
        "llm_annotation_visible_p95": Figure(
            soon, "ms", f"{name}, idle, p95 {peer_soon:.0f} ms", soon / peer_soon,
            f"one annotation at a time, sync=false, to the first answer that shows it, p95 of {VISIBLE_TIMES}; p50 {percentile(visible, 0.5) * 1e3:.0f} ms",
        ),
    }  # fmt: skip

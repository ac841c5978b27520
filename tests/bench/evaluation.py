"""Flags and assignments over HTTP with 10,000 flags and 1,000 experiments loaded, and how soon a change is seen."""

import asyncio
import json
import random
import time
from urllib.parse import urlencode

import httpx
import msgspec
import uvloop

from query_api.control.store import ControlStore, Draft
from schemas.definition_kinds import Definition, Experiment, Guardrail, Variant, encode_definition, kind_of
from schemas.flag import DefaultRule, Flag, FlagRule, Variation, flag_id
from schemas.targeting import Rule
from tests.bench import load
from tests.bench.figures import Figure, Figures
from tests.bench.stack import BenchStack, running

FLAGS = 10_000
EXPERIMENTS = 1_000
USERS = 200_000
CONNECTIONS = 64
REQUESTS = 40_000
DISTINCT = 8_000
CHANGES = 40
_TENANT = "default"
_COUNTRIES = ["US", "CA", "UK", "DE", "FR", "JP", "BR", "IN"]


def experiments() -> list[Definition]:
    """Two variants each, half of the traffic, for three countries."""
    rule = Rule("and", rules=(Rule("in", "country", _COUNTRIES[:3]), Rule("semver_greater_or_equal", "app.version", "2.1.0")))
    arms = (Variant("on", 50.0, id="var_on"), Variant("off", 50.0, control=True, id="var_off"))
    guardrails = (Guardrail("errors", "roll_back"),)
    return [Experiment(_TENANT, f"exp_{n}", f"Experiment {n}", arms, targeting=rule, traffic=50.0, guardrails=guardrails) for n in range(EXPERIMENTS)]


def flags() -> list[Definition]:
    """Three rules each, one of them a regular expression; one of ten runs an experiment."""
    switch = (Variation("var_on", "on", True), Variation("var_off", "off", False))
    rules = (
        FlagRule("rule_1", Rule("equals", "plan", "premium"), 100.0),
        FlagRule("rule_2", Rule("and", rules=(Rule("regex", "email", r"@example\.(org|com)$"), Rule("greater_than", "age", 60))), 50.0),
        FlagRule("rule_3", Rule("in", "country", _COUNTRIES[6:]), 25.0),
    )

    def flag(number: int) -> Flag:
        key = f"flag-{number}"
        experiment = f"exp_{number // 10}" if number % 10 == 0 else ""
        return Flag(_TENANT, flag_id(key), key, enabled=True, variations=switch, rules=rules, default_rule=DefaultRule(10.0), experiment=experiment)

    return [flag(number) for number in range(FLAGS)]


async def define(stack: BenchStack, given: list[Definition]) -> None:
    """Write definitions into the control store, as the API does, and wait until ingest knows the last one."""
    store = ControlStore(f"sqlite+aiosqlite:///{stack.folder / 'control.sqlite3'}")
    for first in range(0, len(given), 1_000):
        await store.write([Draft(kind_of(each), each.tenant, each.id, encode_definition(each)) for each in given[first : first + 1_000]])
    await store.close()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.ports['experimentation']}", headers={"Authorization": f"Bearer {stack.key}"}) as client:
        deadline = time.monotonic() + 120
        while (await client.get("/api/v1/feature-flags/evaluate", params={"key": f"flag-{FLAGS - 1}", "user_id": "u"})).status_code != 200:
            if time.monotonic() > deadline:
                raise TimeoutError("ingest did not learn of the definitions")
            await asyncio.sleep(0.2)


def contexts(count: int) -> list[str]:
    """Attributes of users, as JSON."""
    rnd = random.Random(11)
    return [
        json.dumps({"country": rnd.choice(_COUNTRIES), "plan": rnd.choice(["free", "free", "premium"]), "email": f"user{n}@example.net", "age": n % 90, "app": {"version": "2.10.3"}})
        for n in range(count)
    ]  # fmt: skip


async def _changes(stack: BenchStack) -> list[float]:
    """Seconds from the acknowledged PUT to the first evaluation that sees it."""
    waited = []
    headers = {"Authorization": f"Bearer {stack.key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.ports['experimentation']}", headers=headers, timeout=20) as client:
        for number in range(CHANGES):
            key, enabled = f"flag-{number}", number % 2 == 1
            for wanted in (not enabled, enabled):
                answer = await client.patch(f"/api/v1/feature-flags/{flag_id(key)}/toggle", json={"enabled": wanted})
                answer.raise_for_status()
                begun = time.perf_counter()
                while True:
                    found = await client.get("/api/v1/feature-flags/evaluate", params={"key": key, "user_id": "u", "record": "false"})
                    if msgspec.json.decode(found.content)["data"]["enabled"] is wanted:
                        break
                    await asyncio.sleep(0.002)
                waited.append(time.perf_counter() - begun)
    return sorted(waited)


def _calm(stack: BenchStack) -> None:
    """Wait until what was sent is stored and the system rests, so that a figure is that of one part."""
    deadline, before = time.monotonic() + 20, sum(stack.cpu_seconds().values())
    while time.monotonic() < deadline:
        time.sleep(1.0)
        now = sum(stack.cpu_seconds().values())
        if now - before < 0.35:
            return
        before = now


async def _asked(stack: BenchStack, requests: list[bytes], total: int) -> load.Outcome:
    outcome = await load.run("127.0.0.1", stack.ports["experimentation"], requests, total, CONNECTIONS)
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"not every request was answered: {outcome.statuses}")
    return outcome


def _door(stack: BenchStack, name: str, requests: list[bytes], given: str) -> Figures:
    """Users that come for the first time, then the same ones again and again."""
    first = uvloop.run(_asked(stack, requests, len(requests)))
    _calm(stack)
    before = stack.cpu_seconds()
    again = uvloop.run(_asked(stack, requests, REQUESTS))
    used = {part: (seconds - before.get(part, 0.0)) / REQUESTS for part, seconds in stack.cpu_seconds().items()}
    rate, core = again.requests / again.seconds, 1 / used["serve ingest"]
    costs = ", ".join(f"{part} {seconds * 1e6:.0f} us" for part, seconds in used.items())
    conditions = f"{given}; users that came before; CPU per request {costs}"
    return {
        name: Figure(rate, "requests/s", "4,000/s", rate / 4_000, conditions),
        f"{name}_per_core": Figure(core, "requests/s", "4,000/s", core / 4_000, f"{given}; requests by CPU second of ingest"),
        f"{name}_p99": Figure(again.percentile(0.99) * 1e3, "ms", "40 ms", again.percentile(0.99) / 0.04, conditions),
        f"{name}_first_p99": Figure(first.percentile(0.99) * 1e3, "ms", "", None, f"{given}; users that come for the first time, exposures waited for"),
    }


def evaluation() -> Figures:
    """Both doors, OFREP, and the time a change takes. Without the computations: the windows of a thousand new experiments would take a core
    of the machine for minutes, and these doors do not touch them."""
    rnd = random.Random(5)
    attributes = contexts(2_000)
    figures: Figures = {}
    with running(STREAMS_COMPUTATIONS="false") as stack:
        uvloop.run(define(stack, [*experiments(), *flags()]))
        _calm(stack)

        def query(name: str, thing: str) -> str:
            return urlencode({name: thing, "user_id": f"user_{rnd.randrange(USERS)}", "context": rnd.choice(attributes)})

        def body() -> bytes:
            return f'{{"context":{rnd.choice(attributes)[:-1]},"targetingKey":"user_{rnd.randrange(USERS)}"}}}}'.encode()

        doors = {
            "flag_evaluations": [
                load.get(f"/api/v1/feature-flags/evaluate?{query('key', f'flag-{rnd.randrange(FLAGS)}')}", stack.key) for _ in range(DISTINCT)
            ],
            "ofrep_evaluations": [load.request(f"/ofrep/v1/evaluate/flags/flag-{rnd.randrange(FLAGS)}", body(), stack.key) for _ in range(DISTINCT)],
            "assignments": [load.get(f"/api/v1/assignments?{query('experiment_id', f'exp_{rnd.randrange(EXPERIMENTS)}')}", stack.key) for _ in range(DISTINCT)],
        }
        given = f"{CONNECTIONS} connections, {FLAGS:,} flags and {EXPERIMENTS:,} experiments, {DISTINCT:,} different requests, sink alone, no computations"
        for name, requests in doors.items():
            figures |= _door(stack, name, requests, given)
        waited = asyncio.run(_changes(stack))
    conditions = f"{len(waited)} toggles of a flag, from the acknowledged PATCH to the first evaluation that sees it, asked every 2 ms"
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        seconds = waited[int(share * (len(waited) - 1))]
        figures[f"definition_change_{label}"] = Figure(seconds * 1e3, "ms", "2 s", seconds / 2, conditions)
    return figures

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
WARM_UP = 4_000
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


def _figures(name: str, outcome: load.Outcome, conditions: str) -> Figures:
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"not every request was answered: {outcome.statuses}")
    rate = outcome.requests / outcome.seconds
    return {
        name: Figure(rate, "requests/s", "4,000/s on one core", rate / 4_000, conditions),
        f"{name}_p99": Figure(outcome.percentile(0.99) * 1e3, "ms", "40 ms", outcome.percentile(0.99) / 0.04, conditions),
    }


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


def evaluation() -> Figures:
    """Both doors, OFREP, and the time a change takes."""
    rnd = random.Random(5)
    attributes = contexts(2_000)
    with running() as stack:
        uvloop.run(define(stack, [*experiments(), *flags()]))

        def user() -> str:
            return f"user_{rnd.randrange(USERS)}"

        evaluations = [
            load.get(f"/api/v1/feature-flags/evaluate?{urlencode({'key': f'flag-{rnd.randrange(FLAGS)}', 'user_id': user(), 'context': rnd.choice(attributes)})}", stack.key)
            for _ in range(REQUESTS)
        ]  # fmt: skip
        assignments = [
            load.get(f"/api/v1/assignments?{urlencode({'experiment_id': f'exp_{rnd.randrange(EXPERIMENTS)}', 'user_id': user(), 'context': rnd.choice(attributes)})}", stack.key)
            for _ in range(REQUESTS)
        ]  # fmt: skip
        ofrep = [
            load.request(f"/ofrep/v1/evaluate/flags/flag-{rnd.randrange(FLAGS)}", b'{"context":' + rnd.choice(attributes)[:-1].encode() + f',"targetingKey":"{user()}"}}}}'.encode(), stack.key)
            for _ in range(REQUESTS)
        ]  # fmt: skip
        figures: Figures = {}
        given = f"{CONNECTIONS} connections, {FLAGS:,} flags and {EXPERIMENTS:,} experiments, {USERS:,} users, exposures recorded, load generator on the same machine"
        for name, requests in (("flag_evaluations", evaluations), ("ofrep_evaluations", ofrep), ("assignments", assignments)):
            uvloop.run(load.run("127.0.0.1", stack.ports["experimentation"], requests, WARM_UP, CONNECTIONS))
            before = stack.cpu_seconds()
            outcome = uvloop.run(load.run("127.0.0.1", stack.ports["experimentation"], requests, REQUESTS, CONNECTIONS))
            used = {part: (seconds - before.get(part, 0.0)) / REQUESTS * 1e6 for part, seconds in stack.cpu_seconds().items()}
            figures |= _figures(name, outcome, f"{given}; CPU per request {', '.join(f'{part} {cost:.0f} us' for part, cost in used.items())}")
        waited = uvloop.run(_changes(stack))
    conditions = f"{len(waited)} toggles of a flag, from the acknowledged PATCH to the first evaluation that sees it, asked every 2 ms"
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        figures[f"definition_change_{label}"] = Figure(
            waited[int(share * (len(waited) - 1))] * 1e3, "ms", "2 s", waited[int(share * (len(waited) - 1))] / 2, conditions
        )
    return figures

"""Statistical tests of telemetry that came in at the door: what counts, by what it is grouped, and what the documentation shows."""

import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from scipy import stats

from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack

RESULTS = "/statistical-results"


@pytest.fixture
async def client(live: LiveStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{live.main_url}/crucible/api/v1", headers=live.headers, timeout=70) as client:
        yield client


@pytest.fixture
def experiment() -> str:
    """Id of an experiment that no other test has."""
    return f"exp_{os.urandom(6).hex()}"


def event(experiment: str, measurements: Any, *, name: str = "crucible.model.inference", id: str | None = None, at: str | None = None, **metadata: Any) -> Any:
    found: dict[str, Any] = {"event_name": name.split("."), "measurements": measurements, "metadata": {"experiment_id": experiment, **metadata}}
    return {**found, **({"id": id} if id else {}), **({"timestamp": at} if at else {})}


async def sent(client: httpx.AsyncClient, events: Sequence[Any]) -> dict[str, str]:
    """Headers for a read that has them all."""
    answer = await client.post("/telemetry/events", json={"events": list(events)})
    assert answer.status_code == 202, answer.text
    return {"x-millstream-wait-for": answer.headers["x-millstream-position"], "x-millstream-wait-timeout": "60"}


async def run(client: httpx.AsyncClient, seen: dict[str, str], experiment: str, groups: Sequence[str], **fields: Any) -> dict[str, Any]:
    test = {"experiment_id": experiment, "test_type": "two_sample_t_test", "groups": list(groups), "metric": "accuracy", **fields}
    answer = await client.post(RESULTS, json={"test": test}, headers=seen)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


@needs_catalogue
async def test_the_rows_of_the_catalogue(client: httpx.AsyncClient, experiment: str) -> None:
    """crucible.stats.run, crucible.stats.get, crucible.stats.list, crucible.stats.list_by_experiment, crucible.stats.interpretation"""
    rng = np.random.default_rng(1)
    values = {"model_a": rng.normal(0.89, 0.05, 100), "model_b": rng.normal(0.82, 0.08, 120)}
    events = [event(experiment, {"accuracy": value}, model=model) for model, each in values.items() for value in each]
    seen = await sent(client, events)
    request = row("crucible.stats.run")["request"]
    request["test"]["experiment_id"] = experiment
    answer = await client.post(RESULTS, json=request, headers=seen)
    assert answer.status_code == 201 and not missing_keys(answer.json(), row("crucible.stats.run")["response_keys"])
    found = answer.json()["data"]
    expected = stats.ttest_ind(values["model_a"], values["model_b"], equal_var=False)
    assert (found["statistic"], found["p_value"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert found["sample_sizes"] == [100, 120] and found["means"] == pytest.approx([each.mean() for each in values.values()], rel=1e-12)
    assert found["always_valid"]["p_value"] < 0.05 and seen["x-millstream-wait-for"].split(":")[0] in found["as_of"]
    got = await client.get(f"{RESULTS}/{found['id']}")
    assert got.status_code == 200 and got.json() == answer.json() and not missing_keys(got.json(), row("crucible.stats.get")["response_keys"])
    for path, name in ((f"{RESULTS}?filter[experiment_id]={experiment}", "list"), (f"/experiments/{experiment}/statistical-results", "list_by_experiment")):
        listed = await client.get(path)
        assert listed.status_code == 200 and not missing_keys(listed.json(), row(f"crucible.stats.{name}")["response_keys"])
        assert listed.json()["data"] == [found] and listed.json()["meta"]["total"] == 1


async def test_what_counts(client: httpx.AsyncClient, experiment: str) -> None:
    """An id that was sent twice counts once, with what came last; what is no number, has no group or is quarantined does not count."""
    await sent(client, [event(experiment, {"accuracy": 99}, id=f"{experiment} {n}", model="a") for n in range(3)])
    absurd = (datetime.now(UTC) + timedelta(days=30_000)).isoformat()
    seen = await sent(
        client,
        [
            *(event(experiment, {"accuracy": value}, id=f"{experiment} {number}", model="a") for number, value in enumerate((1, 2, 3))),
            *(event(experiment, {"accuracy": value}, model="b") for value in (4, 5.5, -6e-1)),
            *(event(experiment, {"accuracy": value}, model="b") for value in ("7", None, True, [8], {"x": 9})),
            event(experiment, {"latency": 1}, model="a"),
            event(experiment, {"accuracy": 1_000}),
            event(experiment, {"accuracy": 1_000}, model=None),
            event(experiment, {"accuracy": 1_000}, model="a", at=absurd),
            event(f"{experiment}x", {"accuracy": 1_000}, model="a"),
        ],
    )
    found = await run(client, seen, experiment, ["a", "b"])
    assert found["sample_sizes"] == [3, 3] and found["means"] == pytest.approx([2.0, 8.9 / 3])
    late = await sent(client, [event(experiment, {"accuracy": 10}, model="a")])
    assert (await run(client, late, experiment, ["a", "b"]))["sample_sizes"] == [4, 3]
    assert (await client.get(f"{RESULTS}/{found['id']}")).json()["data"] == found


async def test_groups_and_events_as_the_options_choose_them(client: httpx.AsyncClient, experiment: str) -> None:
    t0 = datetime.now(UTC) - timedelta(hours=1)
    made = [
        event(
            experiment,
            {"accuracy": number % 7},
            name=f"crucible.{'train' if number % 2 else 'test'}",
            at=(t0 + timedelta(minutes=number)).isoformat(),
            fold=number % 3,
            run_id=f"run {number % 2}",
            held=number < 10,
        )
        for number in range(30)
    ]
    seen = await sent(client, made)

    async def sizes(*groups: str, **options: Any) -> list[int]:
        test = "one_way_anova" if len(groups) > 2 else "mann_whitney_u"
        found: list[int] = (await run(client, seen, experiment, groups, test_type=test, options=options))["sample_sizes"]
        return found

    assert await sizes("0", "1", "2", group_by="fold") == [10, 10, 10]
    assert await sizes("true", "false", group_by="held") == [10, 20]
    assert await sizes("run 1", "run 0", group_by="run_id", after=t0.isoformat()) == [15, 14]
    assert await sizes("crucible.test", "crucible.train", group_by="event_name", before=(t0 + timedelta(minutes=9)).isoformat()) == [5, 4]
    assert await sizes("0", "1", group_by="fold", event_name="crucible.train") == [5, 5]


async def test_pairs_belong_together_by_a_field(client: httpx.AsyncClient, experiment: str) -> None:
    """Several events of a pair are their mean; what has no other half does not count."""
    rng = np.random.default_rng(2)
    a = rng.normal(1e9, 3, 25)
    b = a - rng.normal(1, 1, 25)
    events = [
        event(experiment, {"accuracy": float(value)}, model=model, question=number) for model, each in (("a", a), ("b", b)) for number, value in enumerate(each)
    ]
    events += [event(experiment, {"accuracy": float(a[0]) + 4.0}, model="a", question=0), event(experiment, {"accuracy": 1.0}, model="a", question="alone")]
    seen = await sent(client, [*reversed(events), event(experiment, {"accuracy": 1.0}, model="b")])
    found = await run(client, seen, experiment, ["a", "b"], test_type="paired_t_test", options={"pair_by": "question"})
    a[0] += 2.0
    expected = stats.ttest_rel(a, b)
    assert found["sample_sizes"] == [25, 25] and found["unpaired"] == [1, 0]
    assert (found["statistic"], found["p_value"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-5)
    assert found["mean_difference"] == pytest.approx((a - b).mean(), rel=1e-6)


async def test_what_cannot_be_tested_is_explained(client: httpx.AsyncClient, experiment: str) -> None:
    """crucible.errors.not_found, crucible.errors.validation_error"""
    events = [event(experiment, {"accuracy": 1}, model=model) for model in ("a", "b", "b", "quote ' group")]
    seen = await sent(client, [*events, event(experiment, {"other": 1}, model="mute")])

    async def refused(status: int, groups: Sequence[str], of: str = experiment, **fields: Any) -> dict[str, Any]:
        test = {"experiment_id": of, "test_type": "two_sample_t_test", "groups": list(groups), "metric": "accuracy", **fields}
        answer = await client.post(RESULTS, json={"test": test}, headers=seen)
        assert answer.status_code == status, answer.text
        error: dict[str, Any] = answer.json()["error"]
        return error

    assert (await refused(404, ["a", "b"], f"{experiment}0"))["code"] == "not_found"
    assert (await client.get(f"/experiments/{experiment}0/statistical-results")).status_code == 404
    assert (await client.get(f"/experiments/{experiment}/statistical-results")).json()["data"] == []
    assert (await refused(422, ["a", "c"]))["details"] == {"groups": ["there is no group c by metadata.model; there are a, b, mute, quote ' group"]}
    assert "group a has 1 value" in (await refused(422, ["b", "a"]))["message"]
    assert "no event of group mute" in (await refused(422, ["a", "mute"]))["message"]
    assert "no event that the options choose" in (await refused(422, ["a", "b"], options={"event_name": "nothing"}))["message"]
    assert "have the same metadata.q" in (await refused(422, ["a", "b"], test_type="paired_t_test", options={"pair_by": "q"}))["message"]
    (alone,) = [each for each in (await client.get("/statistical-results?per_page=100")).json()["data"] if each["experiment_id"] == experiment] or [None]
    assert alone is None

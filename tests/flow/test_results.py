"""Results over HTTP: from events at the door to the documented answer, each number held against scipy or a definition written out."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from scipy import stats

from query_api.surfaces.experimentation.replay import ReplayAnswer
from query_api.surfaces.experimentation.result_models import ResultsAnswer
from schemas.confidence_sequence import TUNED_UNITS, boundary
from schemas.moments import Moments
from schemas.significance import compare
from tests.flow.rows import missing_keys, needs_catalogue, row
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

UNITS = 1_200
START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=10)
METRICS: list[dict[str, Any]] = [
    {"name": "conversion_rate", "event_name": "purchase", "description": "Percentage of users who complete a purchase"},
    {"name": "revenue", "event_name": "purchase", "type": "mean"},
    {"name": "capped_revenue", "event_name": "purchase", "type": "mean", "winsorize": 0.95},
    {"name": "adjusted_revenue", "event_name": "purchase", "type": "mean", "covariate_days": 14},
    {"name": "early_revenue", "event_name": "purchase", "type": "mean", "window_s": 3600},
    {"name": "median_revenue", "event_name": "purchase", "type": "quantile", "quantile": 0.5},
    {"name": "errors", "event_name": "error", "type": "count", "direction": "decrease", "use": "guardrail"},
    {"name": "spend_per_visit", "event_name": "purchase", "type": "ratio", "denominator_event_name": "visit"},
    {"name": "never", "event_name": "nothing"},
]


@dataclass
class Unit:
    """What one unit did."""

    name: str
    arm: str
    early: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    errors: int = 0
    visits: int = 1

    @property
    def country(self) -> str:
        return ("de", "fr", "de", "it")[int(self.name[1:]) // 2 % 4]

    @property
    def revenue(self) -> float:
        return math.fsum([*self.early, *self.late])


@dataclass
class Ran:
    """The experiment that all tests of this file read."""

    id: str
    units: list[Unit]
    position: str

    def values(self, arm: str, of: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([of(unit) for unit in self.units if unit.arm == arm], dtype=np.float64)


def _units() -> list[Unit]:
    dice = random.Random(3)
    units = []
    for number in range(UNITS):
        unit = Unit(f"u{number}", "treatment" if number % 2 else "control")
        level = dice.lognormvariate(0, 1)
        unit.before = [level * dice.uniform(0.8, 1.2) for _ in range(3)]
        unit.early = [level * dice.uniform(0.8, 1.2) * (1.5 if number % 2 else 1.0)] if dice.random() < 0.8 else []
        unit.late = [level] if dice.random() < 0.5 else []
        unit.errors, unit.visits = dice.randrange(3), dice.randrange(1, 4)
        units.append(unit)
    return units


def _events(experiment: str, units: list[Unit]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []

    def add(user: str, kind: str, at: timedelta, of: str | None = experiment, **more: Any) -> None:
        named = {} if of is None else {"experiment_id": of}
        events.append({"user_id": user, "event_type": kind, "timestamp": (START + at).isoformat(), **named, **more})

    for unit in units:
        add(unit.name, "exposure", timedelta(), variant=unit.arm, metadata={"country": unit.country})
        for value in unit.before:
            add(unit.name, "purchase", -timedelta(days=5), None, metadata={"value": value})
        for value in unit.early:
            add(unit.name, "purchase", timedelta(minutes=10), metadata={"value": value})
        for value in unit.late:
            add(unit.name, "purchase", timedelta(hours=5), metadata={"value": value})
        for _ in range(unit.errors):
            add(unit.name, "error", timedelta(minutes=20))
        for _ in range(unit.visits):
            add(unit.name, "visit", timedelta(minutes=1))
    for arm in ("control", "treatment"):
        add("both", "exposure", timedelta(minutes=1), variant=arm)
    return events


def _client(live: LiveStack, port: str = "experimentation", prefix: str = "") -> httpx.Client:
    return httpx.Client(base_url=live.url(port) + prefix, headers=live.headers, timeout=60)


def _new(name: str, **settings: Any) -> dict[str, Any]:
    """An experiment that began before its events."""
    arms = [{"name": "control", "allocation": 50}, {"name": "treatment", "allocation": 50}]
    return {"name": name, "variants": arms, "status": "ACTIVE", "start_date": (START - timedelta(hours=1)).isoformat(), **settings}


def _send(client: httpx.Client, events: list[dict[str, Any]]) -> str:
    positions: list[str] = []
    for begin in range(0, len(events), 500):
        answer = client.post("/api/v1/events/batch", json={"events": events[begin : begin + 500]})
        assert answer.status_code == 200 and answer.json()["data"]["failed"] == 0, answer.text[:500]
        positions.append(answer.headers["x-millstream-position"])
    return ",".join(positions)


def _results(client: httpx.Client, name: str, position: str = "", **params: Any) -> dict[str, Any]:
    headers = {"X-Millstream-Wait-For": position, "X-Millstream-Wait-Timeout": "60"} if position else {}
    answer = client.get(f"/api/v1/experiments/{name}/results", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-millstream-watermark"] == answer.json()["data"]["watermark"]
    ResultsAnswer.model_validate_json(answer.text)
    data: dict[str, Any] = answer.json()["data"]
    return data


@pytest.fixture(scope="module")
def ran(live: LiveStack) -> Ran:
    with _client(live) as client:
        made = client.post("/api/v1/experiments", json=_new("results", metrics=METRICS, correction="holm"))
        assert made.status_code == 201, made.text
        name, units = made.json()["data"]["id"], _units()

        def known() -> bool:
            answer = client.get(f"{live.main_url}/platform/v1/definitions", params={"kind": "metric", "limit": 200})
            return "spend_per_visit" in answer.text

        eventually_sync(known)
        position = _send(client, _events(name, units))

        def complete() -> bool:
            found = {metric["name"]: metric for metric in _results(client, name, position)["metrics"]}
            return all(found[each["name"]]["results"]["control"]["units"] for each in METRICS)

        eventually_sync(complete, timeout=60)
    return Ran(name, units, position)


def _metric(results: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(metric for metric in results["metrics"] if metric["name"] == name)
    return found


@needs_catalogue
@pytest.mark.parametrize(("port", "prefix"), [("experimentation", ""), ("main", "/experimentation")])
def test_exp_experiments_results(live: LiveStack, ran: Ran, port: str, prefix: str) -> None:
    """exp.experiments.results"""
    with _client(live, port, prefix) as client:
        answer = client.get(f"/api/v1/experiments/{ran.id}/results", headers={"X-Millstream-Wait-For": ran.position})
        assert answer.status_code in row("exp.experiments.results")["status_accept"]
        assert not missing_keys(answer.json(), row("exp.experiments.results")["response_keys"])
        data = answer.json()["data"]
        assert (data["experiment_id"], data["status"]) == (ran.id, "ACTIVE")
        assert data["sample_size"] == {"control": UNITS // 2, "treatment": UNITS // 2}
        assert data["excluded_units"] == {"several_variants": 1, "unplanned_variant": 0}
        assert data["exposures"]["control"] == {"units": UNITS // 2, "share": 50.0, "planned_share": 50.0}
        assert data["sample_ratio"]["mismatch"] is False and data["age_s"] >= 0
        unknown = client.get("/api/v1/experiments/exp_unknown/results")
        assert unknown.status_code == 404 and unknown.json()["error"]["code"] == "NOT_FOUND"
        refused = client.get(f"/api/v1/experiments/{ran.id}/results", headers={"Authorization": "Bearer wrong"})
        assert refused.status_code == 401 and refused.json()["error"]["code"] == "UNAUTHORIZED"


def test_exp_results_statistics(live: LiveStack, ran: Ran) -> None:
    """exp.results.statistics"""
    with _client(live) as client:
        data = _results(client, ran.id, bayesian="true")
    json.dumps(data, allow_nan=False)
    conversions = _metric(data, "conversion_rate")
    bought = [ran.values(arm, lambda unit: float(bool(unit.early or unit.late))) for arm in ("control", "treatment")]
    p_c, p_t = (float(each.mean()) for each in bought)
    n = UNITS // 2
    shown, comparison = conversions["results"], conversions["comparisons"][0]
    assert shown["control"]["value"] == pytest.approx(100 * p_c) and shown["treatment"]["value"] == pytest.approx(100 * p_t)
    assert shown["improvement"] == pytest.approx(100 * (p_t / p_c - 1))
    half = 100 * float(boundary(n, 0.05, TUNED_UNITS)) * math.sqrt(p_c * (1 - p_c) / n)
    assert shown["control"]["confidence_interval"] == pytest.approx([100 * p_c - half, min(100, 100 * p_c + half)])
    wilson = stats.binomtest(int(bought[0].sum()), n).proportion_ci(0.95, method="wilson")
    assert shown["control"]["fixed_confidence_interval"] == pytest.approx([100 * wilson.low, 100 * wilson.high])
    expected = compare(Moments.of(bought[0]), Moments.of(bought[1]), "proportion", 0.05)
    assert comparison["always_valid"]["p_value"] == pytest.approx(expected.anytime.p_value)
    assert comparison["fixed_horizon"]["p_value"] == pytest.approx(expected.fixed.p_value)

    revenue = [ran.values(arm, lambda unit: unit.revenue) for arm in ("control", "treatment")]
    welch: Any = stats.ttest_ind(revenue[1], revenue[0], equal_var=False)
    comparison = _metric(data, "revenue")["comparisons"][0]
    assert comparison["difference"] == pytest.approx(revenue[1].mean() - revenue[0].mean())
    assert comparison["fixed_horizon"]["p_value"] == pytest.approx(float(welch.pvalue))
    assert comparison["fixed_horizon"]["interval"] == pytest.approx([*welch.confidence_interval()])
    assert comparison["bayesian"]["chance_to_win"] == pytest.approx(100 * stats.norm.cdf(comparison["difference"] / comparison["standard_error"]))
    assert _metric(data, "revenue")["results"]["is_significant"] == (comparison["always_valid"]["corrected_p_value"] <= 0.05)
    assert _metric(data, "revenue")["results"]["confidence"] == pytest.approx(min(100 * (1 - comparison["always_valid"]["corrected_p_value"]), 99.9999))

    cap = np.sort(np.concatenate(revenue))[int(0.95 * UNITS)]
    capped = _metric(data, "capped_revenue")
    assert capped["adjustments"]["winsorized_at"] == pytest.approx(cap)
    assert capped["results"]["treatment"]["value"] == pytest.approx(np.minimum(revenue[1], cap).mean())

    before = [ran.values(arm, lambda unit: math.fsum(unit.before)) for arm in ("control", "treatment")]
    y, x = np.concatenate(revenue), np.concatenate(before)
    theta = np.cov(y, x)[0, 1] / np.var(x, ddof=1)
    adjusted = _metric(data, "adjusted_revenue")
    assert adjusted["adjustments"]["covariate"]["theta"] == pytest.approx(theta)
    assert adjusted["results"]["control"]["value"] == pytest.approx(revenue[0].mean() - theta * (before[0].mean() - x.mean()))
    assert adjusted["results"]["control"]["unadjusted_value"] == pytest.approx(revenue[0].mean())
    assert adjusted["comparisons"][0]["standard_error"] < 0.8 * comparison["standard_error"]

    early = ran.values("treatment", lambda unit: math.fsum(unit.early))
    assert _metric(data, "early_revenue")["results"]["treatment"]["value"] == pytest.approx(early.mean())
    median = _metric(data, "median_revenue")["results"]
    assert median["control"]["value"] == pytest.approx(np.quantile(revenue[0], 0.5, method="inverted_cdf"))
    ratio = _metric(data, "spend_per_visit")["results"]["treatment"]["value"]
    assert ratio == pytest.approx(revenue[1].sum() / ran.values("treatment", lambda unit: unit.visits).sum())

    errors = _metric(data, "errors")
    assert errors["use"] == "guardrail"
    assert errors["comparisons"][0]["always_valid"]["corrected_p_value"] == errors["comparisons"][0]["always_valid"]["p_value"]
    goals = [metric["comparisons"][0]["always_valid"] for metric in data["metrics"] if metric["use"] == "goal"]
    known = sorted((goal["p_value"], goal["corrected_p_value"]) for goal in goals if goal["p_value"] is not None)
    assert known[0][1] == pytest.approx(min(1.0, known[0][0] * len(known)))

    never = _metric(data, "never")["results"]
    assert never["control"]["value"] == 0 and never["control"]["confidence_interval"] is None and never["control"]["reason"] == "no_spread"
    assert never["confidence"] is None and never["improvement"] is None and never["is_significant"] is False
    assert "no_spread" in data["reasons"]


def test_results_over_time(live: LiveStack, ran: Ran) -> None:
    with _client(live) as client:

        def hours() -> list[dict[str, Any]]:
            points: list[dict[str, Any]] = _results(client, ran.id, grain="hour")["time_series"]["points"]
            assert points and all(point["metrics"] for point in points)
            return points

        points = eventually_sync(hours, timeout=90)
        newest = _results(client, ran.id, grain="hour", points=1)["time_series"]["points"]
    starts = [datetime.fromisoformat(point["window_start"]) for point in points]
    assert starts == sorted(starts) and starts[0] <= START < starts[0] + timedelta(hours=1)
    assert len(newest) == 1 and newest[0]["window_start"] == points[-1]["window_start"]


def test_results_by_part_of_the_units(live: LiveStack, ran: Ran) -> None:
    with _client(live) as client:
        whole = _results(client, ran.id)
        assert whole["segments"] is None
        segments = _results(client, ran.id, segment="metadata.country")["segments"]
        by_sdk = _results(client, ran.id, segment="sdk", bayesian="true")["segments"]
        for wrong in ("country", "metadata.", "sdk;"):
            refused = client.get(f"/api/v1/experiments/{ran.id}/results", params={"segment": wrong})
            assert refused.status_code == 422 and "segment" in refused.text
        nobody = client.get(f"/api/v1/experiments/{ran.id}/results", params={"segment": "metadata.unheard"}).json()["data"]["segments"]
    json.dumps(segments, allow_nan=False)
    countries = {each["value"]: each for each in segments["values"]}
    # One unit saw both variants and says no country.
    assert list(countries) == ["de", "fr", "it", ""] and segments["omitted"] == 0
    assert countries[""]["sample_size"] == {"control": 0, "treatment": 0}
    assert countries[""]["excluded_units"] == {"several_variants": 1, "unplanned_variant": 0}
    for country in ("de", "fr", "it"):
        arms = [np.array([unit.revenue for unit in ran.units if (unit.country, unit.arm) == (country, arm)]) for arm in ("control", "treatment")]
        part = countries[country]
        assert part["sample_size"] == {"control": len(arms[0]), "treatment": len(arms[1])}
        comparison = _metric(part, "revenue")["comparisons"][0]
        assert comparison["difference"] == pytest.approx(arms[1].mean() - arms[0].mean())
        expected = compare(Moments.of(arms[0]), Moments.of(arms[1]), "mean", 0.05)
        assert comparison["always_valid"]["interval"] == pytest.approx(list(expected.anytime.interval or ()))
        assert comparison["always_valid"]["p_value"] == pytest.approx(expected.anytime.p_value)
    goals = [
        comparison["always_valid"]
        for part in segments["values"]
        for metric in part["metrics"]
        if metric["use"] == "goal"
        for comparison in metric["comparisons"]
        if comparison["always_valid"]["p_value"] is not None
    ]
    smallest = min(goals, key=lambda goal: goal["p_value"])
    assert smallest["corrected_p_value"] == pytest.approx(min(1.0, smallest["p_value"] * len(goals))), "one family over all segments"
    (alone,) = by_sdk["values"]
    assert alone["value"].startswith("python-httpx") and alone["sample_size"] == whole["sample_size"]
    for metric in whole["metrics"]:
        same = _metric(alone, metric["name"])["comparisons"][0]
        assert same["difference"] == pytest.approx(metric["comparisons"][0]["difference"]) and same["bayesian"] is not None
    assert [each["value"] for each in nobody["values"]] == [""]


def test_replay_shows_what_another_definition_changes(live: LiveStack, ran: Ran) -> None:
    with _client(live) as client:
        before = _results(client, ran.id)
        body = {"metric": {"name": "revenue", "window_s": 3600, "winsorize": 0.9}}
        answer = client.post(f"/api/v1/experiments/{ran.id}/replay", json=body)
        assert answer.status_code == 200, answer.text
        ReplayAnswer.model_validate_json(answer.text)
        data = answer.json()["data"]
        assert set(data["changes"]) == {"window_s", "winsorize"}
        stored = _metric(before, "revenue")["comparisons"][0]
        original, replayed = data["original"]["comparisons"][0], data["replayed"]["comparisons"][0]
        assert original["difference"] == pytest.approx(stored["difference"]) and original["standard_error"] == pytest.approx(stored["standard_error"])
        early = [ran.values(arm, lambda unit: math.fsum(unit.early)) for arm in ("control", "treatment")]
        cap = np.sort(np.concatenate(early))[int(0.9 * UNITS)]
        assert replayed["difference"] == pytest.approx(np.minimum(early[1], cap).mean() - np.minimum(early[0], cap).mean())
        assert data["differences"][0]["difference"] == pytest.approx(replayed["difference"] - original["difference"])

        new = {"metric": {"name": "p90", "event_name": "purchase", "type": "quantile", "quantile": 0.9}, "end": (START + timedelta(hours=1)).isoformat()}
        fresh = client.post(f"/api/v1/experiments/{ran.id}/replay", json=new).json()["data"]
        assert fresh["original"] is None and fresh["differences"] == []
        assert fresh["replayed"]["results"]["control"]["value"] == pytest.approx(np.quantile(early[0], 0.9, method="inverted_cdf"))

        after = _results(client, ran.id)
        assert after["revision"] == before["revision"] and after["metrics"] == before["metrics"]
        wrong = client.post(f"/api/v1/experiments/{ran.id}/replay", json={"metric": {"id": "met_unknown"}})
        assert wrong.status_code == 422 and "met_unknown" in wrong.json()["error"]["message"]


def test_the_part_of_the_traffic_at_fault_is_named(live: LiveStack) -> None:
    """Everything is in proportion but for what one SDK sends."""
    with _client(live) as client:
        made = client.post("/api/v1/experiments", json=_new("skewed"))
        name = made.json()["data"]["id"]
        at = START.isoformat()
        for sdk, share in (("good", 2), ("bad", 8)):
            events = [
                {"user_id": f"{sdk}{n}", "event_type": "exposure", "experiment_id": name, "variant": "treatment" if n % share else "control", "timestamp": at}
                for n in range(400)
            ]
            client.headers["User-Agent"] = f"{sdk}-sdk/1.0"
            position = _send(client, events)

        def found() -> dict[str, Any]:
            ratio: dict[str, Any] = _results(client, name, position)["sample_ratio"]
            assert ratio["mismatch"]
            return ratio

        ratio = eventually_sync(found)
        assert ratio["at_fault"]["dimension"] == "sdk" and ratio["at_fault"]["value"].startswith("bad-sdk")


def test_power_is_planned_in_the_units_of_the_results(live: LiveStack) -> None:
    with _client(live) as client:
        answer = client.get("/api/v1/power", params={"baseline": 10, "mde": 10, "daily_units": 1000})
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
        units = math.ceil(z**2 * (0.1 * 0.9 + 0.11 * 0.89) / 0.01**2)
        assert data["fixed_horizon"] == {"units_per_variant": units, "units": 2 * units, "days": math.ceil(2 * units / 1000)}
        assert 1.5 < data["always_valid_factor"] < 4 and data["difference"] == pytest.approx(1.0)
        for wrong in ({"baseline": 0, "mde": 10}, {"baseline": 60, "mde": 100}, {"baseline": 10, "mde": 0}, {"baseline": 10, "mde": 1e-9}):
            refused = client.get("/api/v1/power", params=wrong)
            assert refused.status_code == 422 and refused.json()["error"]["code"] == "VALIDATION_ERROR"

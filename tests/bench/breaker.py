"""The circuit breaker: from the event that makes the harm certain to the first flag evaluation that answers control."""

import math
import time
from typing import Any

import httpx

from tests.bench.figures import Figure, Figures
from tests.bench.stack import BenchStack, running

RUNS = 20
UNITS = 1_000
"""Per variant, before and after."""
DEADLINE_S = 60.0
_ARMS = [{"name": "control", "allocation": 50}, {"name": "treatment", "allocation": 50}]
_ERRORS = {"name": "errors", "event_name": "error", "direction": "decrease", "guardrail": {"action": "roll_back"}}


def _batch(experiment: str, first: int, harm: float) -> dict[str, Any]:
    """Exposures of new units in both variants, an error for 2 % of those in control and for a share of those in treatment."""
    events = []
    for variant, share in (("control", 0.02), ("treatment", harm)):
        for number in range(UNITS):
            same = {"user_id": f"{variant}-{first + number}", "experiment_id": experiment, "variant": variant}
            events.append({**same, "event_type": "exposure"})
            if number < share * UNITS:
                events.append({**same, "event_type": "error"})
    return {"events": events}


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    answer = client.post(path, json=body)
    if answer.status_code not in (200, 201):
        raise RuntimeError(f"{path} answered {answer.status_code}: {answer.text[:300]}")
    return answer.json()["data"]


def _value(client: httpx.Client, key: str, unit: str) -> Any:
    answer = client.get("/feature-flags/evaluate", params={"key": key, "user_id": unit})
    return answer.json()["data"]["value"] if answer.status_code == 200 else None


def _one_run(client: httpx.Client, number: int) -> float:
    """Seconds from the acknowledgement of the batch that crosses the bound to the first evaluation that answers control."""
    wanted = {"name": f"bench {number}", "status": "ACTIVE", "variants": _ARMS, "metrics": [_ERRORS]}
    experiment, key = _post(client, "/experiments", wanted)["id"], f"bench-{number}"
    variations = [{"key": "treatment", "value": "new"}, {"key": "control", "value": "old"}]
    _post(client, "/feature-flags", {"key": key, "enabled": True, "variations": variations, "experiment_id": experiment})
    unit = _until(lambda: next((name for name in (f"visitor-{place}" for place in range(30)) if _value(client, key, name) == "new"), None))
    _post(client, "/events/batch", _batch(experiment, 0, 0.02))
    _until(lambda: _judged(client, experiment))
    _post(client, "/events/batch", _batch(experiment, UNITS, 0.30))
    began = time.perf_counter()
    _until(lambda: _value(client, key, unit) == "old")
    return time.perf_counter() - began


def _judged(client: httpx.Client, experiment: str) -> bool:
    """Whether the harmless start is in the results, so that what is measured begins in the middle of a running experiment."""
    answer = client.get(f"/experiments/{experiment}/results")
    return answer.status_code == 200 and min(answer.json()["data"]["sample_size"].values(), default=0) >= UNITS


def _until(check: Any) -> Any:
    deadline = time.perf_counter() + DEADLINE_S
    while time.perf_counter() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.01)
    raise TimeoutError(f"nothing within {DEADLINE_S:.0f} s")


def _measure(stack: BenchStack) -> list[float]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.ports['experimentation']}/api/v1", headers={"Authorization": f"Bearer {stack.key}"}, timeout=30
    ) as client:
        # The first one warms the worker up.
        return sorted([_one_run(client, number) for number in range(RUNS + 1)][1:])


def breaker() -> Figures:
    """Twenty experiments one after the other, each harmless at first."""
    with running() as stack:
        times = _measure(stack)
    p50, p95 = (times[math.ceil(share * RUNS) - 1] * 1e3 for share in (0.5, 0.95))
    conditions = f"{RUNS} experiments, {UNITS} units a variant without and then {UNITS} with 30 % instead of 2 % errors; one unit asked every 10 ms"
    return {
        "breaker_p50": Figure(p50, "ms", "", None, conditions),
        "breaker_p95": Figure(p95, "ms", "the mark, 2,000 ms", p95 / 2_000, conditions),
    }

"""Events before an experiment's start or after its end are stored and do not count, and moving the times moves the windows."""

import asyncio
from typing import Any

import httpx

from tests.flow.stack import LiveStack
from tests.support import eventually

EXPERIMENT = "spanned"
_START, _END = "2026-05-01T10:00:30Z", "2026-05-01T11:00:00Z"


def _define(live: LiveStack, **times: str) -> None:
    variants = [{"name": "control"}, {"name": "treatment"}]
    live.define({"kind": "experiment", "id": EXPERIMENT, "variants": variants, **times})


def _event(unit: int, kind: str, time: str) -> dict[str, Any]:
    event = {"user_id": f"u{unit}", "event_type": kind, "experiment_id": EXPERIMENT, "timestamp": time}
    return {**event, "variant": "treatment" if unit % 2 else "control"} if kind == "exposure" else event


def _figures(live: LiveStack, kind: str, grain: str, position: str = "") -> dict[str, Any]:
    headers = {**live.headers, **({"X-Millstream-Wait-For": position, "X-Millstream-Wait-Timeout": "30"} if position else {})}
    answer = httpx.get(f"{live.main_url}/platform/v1/windows/{kind}", params={"subject": EXPERIMENT, "grain": grain}, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return {f"{row['window_start']} {row['item']}": row["figures"] for row in answer.json()["data"]}


def _known(live: LiveStack) -> bool:
    """Whether the definition has come back from the control topic, from which the workers have it too."""
    answer = httpx.get(f"{live.main_url}/platform/v1/definitions", params={"kind": "experiment", "limit": 1000}, headers=live.headers)
    return any(each["id"] == EXPERIMENT for each in answer.json()["data"])


def test_only_the_time_between_start_and_end_counts(live: LiveStack) -> None:
    _define(live, starts_at=_START, ends_at=_END)
    asyncio.run(eventually(lambda: _known(live), timeout=30))
    times = {range(40): "2026-05-01T10:00:10Z", range(40, 100): "2026-05-01T10:00:30Z", range(100, 130): "2026-05-01T11:00:00Z"}
    events = [_event(unit, "exposure", time) for units, time in times.items() for unit in units]
    events += [_event(unit, "buy", "2026-05-01T10:30:00Z") for unit in range(60)]
    answer = httpx.post(f"{live.main_url}/experimentation/api/v1/events/batch", json={"events": events}, headers=live.headers)
    assert answer.status_code == 200 and answer.json()["data"]["failed"] == 0
    position = answer.headers["x-millstream-position"]

    # Every grain holds the write once the read that waited for it answers.
    cumulative = _figures(live, "significance", "all", position)["1970-01-01T00:00:00Z buy/treatment"]
    assert (cumulative["control_units"], cumulative["treatment_units"]) == (30, 30)
    assert cumulative["treatment_value"] == 10 / 30
    hours = _figures(live, "significance", "1h", position)
    assert list(hours) == ["2026-05-01T10:00:00Z buy/control", "2026-05-01T10:00:00Z buy/treatment"]
    assert hours["2026-05-01T10:00:00Z buy/treatment"]["treatment_units"] == 30
    assert _figures(live, "assignments", "all", position)["1970-01-01T00:00:00Z *"]["units"] == 60

    _define(live)

    def everybody_counts() -> bool:
        figures = _figures(live, "significance", "all")["1970-01-01T00:00:00Z buy/treatment"]
        return bool((figures["control_units"], figures["treatment_units"]) == (65, 65))

    asyncio.run(eventually(everybody_counts, timeout=30))

    def every_grain_follows() -> bool:
        for grain, units in (("1h", [50]), ("1d", [65])):
            figures = _figures(live, "significance", grain)
            if [each["treatment_units"] for place, each in sorted(figures.items()) if place.endswith("buy/treatment")] != units:
                return False
        return True

    asyncio.run(eventually(every_grain_follows, timeout=60))

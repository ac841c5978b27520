"""Every move between the states of an experiment, and what may change in each of them."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest

from infra.runtime.errors import Conflict
from query_api.domain.experiment_lifecycle import Move, check_edit, move_to, moved, possible_moves, with_roll_back
from schemas.definition_kinds import Experiment, ExperimentStatus, Guardrail, Metric, Variant
from schemas.targeting import Rule

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ARMS = (Variant("control", 50, True, "var_a"), Variant("treatment", 50, False, "var_b"))
STATES: tuple[ExperimentStatus, ...] = get_args(ExperimentStatus)
LEGAL = {
    ("draft", "start"): "active",
    ("active", "pause"): "paused",
    ("paused", "resume"): "active",
    ("active", "stop"): "completed",
    ("paused", "stop"): "completed",
    ("draft", "archive"): "archived",
    ("completed", "archive"): "archived",
}


def experiment(**fields: Any) -> Experiment:
    return Experiment(**{"tenant": "t", "id": "e", "name": "e", "variants": ARMS, "status": "draft", **fields})


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("move", get_args(Move))
def test_every_move_from_every_state(status: ExperimentStatus, move: Move) -> None:
    before = experiment(status=status)
    target = LEGAL.get((status, move))
    if target is None:
        with pytest.raises(Conflict, match=f"is {status.upper()} and cannot {move}") as refused:
            moved(before, move, NOW)
        assert refused.value.details == {"status": status.upper(), "possible": possible_moves(status)}
        assert all(way in refused.value.message for way in possible_moves(status))
    else:
        after = moved(before, move, NOW)
        assert after.status == target and after.updated_at == NOW and move_to(before, after.status) == move


@pytest.mark.parametrize("status", STATES)
def test_a_state_that_no_single_move_reaches_is_a_conflict(status: ExperimentStatus) -> None:
    reachable = {target for (origin, _), target in LEGAL.items() if origin == status}
    for wanted in set(STATES) - reachable:
        with pytest.raises(Conflict, match=f"cannot become {wanted.upper()}"):
            move_to(experiment(status=status), wanted)


def test_starting_and_stopping_set_the_times() -> None:
    later = NOW + timedelta(days=1)
    running = moved(experiment(starts_at=NOW - timedelta(days=9), ends_at=later), "start", NOW)
    assert (running.starts_at, running.ends_at) == (NOW, later)
    assert moved(running, "stop", later).ends_at == later
    at_once = moved(running, "stop", NOW).ends_at
    assert at_once is not None and at_once > NOW


def test_an_end_that_has_passed_does_not_keep_an_experiment_from_running() -> None:
    past = {"starts_at": NOW - timedelta(days=9), "ends_at": NOW - timedelta(days=1)}
    assert moved(experiment(**past), "start", NOW).ends_at is None
    assert moved(experiment(status="paused", **past), "resume", NOW).ends_at is None


def test_an_experiment_without_variants_cannot_start() -> None:
    with pytest.raises(Conflict, match="add at least two"):
        moved(experiment(variants=()), "start", NOW)


@pytest.mark.parametrize("status", STATES)
def test_only_a_running_experiment_is_rolled_back(status: ExperimentStatus) -> None:
    before = experiment(status=status)
    if status not in ("active", "paused"):
        with pytest.raises(Conflict, match="only an ACTIVE or PAUSED"):
            with_roll_back(before, True, NOW)
        return
    after = with_roll_back(before, True, NOW)
    assert after.rolled_back and with_roll_back(after, True, NOW) is after and not with_roll_back(after, False, NOW).rolled_back


METRIC = Metric(tenant="t", id="met_a", name="bought", event_type="buy")
EDITS: tuple[tuple[dict[str, Any], bool], ...] = (
    ({"name": "x"}, True),
    ({"description": "x"}, True),
    ({"hypothesis": "x"}, True),
    ({"ends_at": NOW}, True),
    ({"overrides": {"u": "treatment"}}, True),
    ({"guardrails": (Guardrail("met_a"),)}, True),
    ({"traffic": 60.0}, True),
    ({"traffic": 40.0}, False),
    ({"metrics": ("met_a", "met_b")}, True),
    ({"metrics": ()}, False),
    ({"variants": (Variant("control", 90, True, "var_a", "d"), Variant("treatment", 10, False, "var_b"))}, True),
    ({"variants": (*ARMS, Variant("third", 1, False, "var_c"))}, False),
    ({"variants": (Variant("control", 50, True, "var_a"), Variant("other", 50, False, "var_b"))}, False),
    ({"variants": (Variant("control", 50, False, "var_a"), Variant("treatment", 50, True, "var_b"))}, False),
    ({"targeting": Rule("equals", "country", "US")}, False),
    ({"seed": "x"}, False),
    ({"group": "g"}, False),
    ({"starts_at": NOW}, False),
    ({"alpha": 0.01}, False),
    ({"correction": "holm"}, False),
)
OUTSIDE = {"starts_at": "start_date"}


@pytest.mark.parametrize(("change", "allowed"), EDITS)
@pytest.mark.parametrize("status", STATES)
def test_what_may_change_in_each_state(status: ExperimentStatus, change: dict[str, Any], allowed: bool) -> None:
    before = experiment(status=status, traffic=50.0, metrics=("met_a",))
    after = msgspec.structs.replace(before, **change)
    (field,) = change
    if status == "draft" or (status in ("active", "paused") and allowed) or field in ("name", "description"):
        check_edit(before, after, {}, {})
        return
    with pytest.raises(Conflict) as refused:
        check_edit(before, after, {}, {})
    assert refused.value.details["fields"] == [OUTSIDE.get(field, "end_date" if field == "ends_at" else field)]


@pytest.mark.parametrize(
    ("change", "running"),
    [({"name": "x"}, True), ({"description": "x"}, True), ({"use": "guardrail"}, True), ({"event_type": "pay"}, False), ({"kind": "count"}, False)],
)
def test_what_may_change_of_a_metric(change: dict[str, Any], running: bool) -> None:
    after = msgspec.structs.replace(METRIC, **change)
    for status in STATES:
        before = experiment(status=status, metrics=("met_a",))
        if status == "draft" or (running and status in ("active", "paused")):
            check_edit(before, before, {"met_a": METRIC}, {"met_a": after})
        else:
            with pytest.raises(Conflict, match=r"metrics\[bought\]\.(name|description|use|event_name|type) is fixed"):
                check_edit(before, before, {"met_a": METRIC}, {"met_a": after})

"""Events held against the definitions: variants an experiment does not have, experiments nobody defined."""

import json
from typing import Any

import pytest

from infra.runtime.errors import ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest import events
from ingest.experiment_check import MAX_SUGGESTIONS, ExperimentChecks
from ingest.json_rows import Received
from schemas.definition_kinds import ControlRecord, Experiment, Variant, encode_definition
from schemas.definitions import Definitions

SETTINGS = IngestSettings()
RECEIVED = Received("acme", 1_790_000_000_000_000, "evt_x_")


def define(definitions: Definitions, *experiments: Experiment, version: int = 1) -> None:
    for each in experiments:
        definitions.apply(ControlRecord("experiment", each.tenant, each.id, version, False, encode_definition(each), 0))


@pytest.fixture
def definitions() -> Definitions:
    found = Definitions()
    arms = (Variant("control", id="var_a"), Variant("treatment", id="var_b"))
    define(found, Experiment("acme", "checkout", variants=arms), Experiment("acme", "open"), Experiment("other", "theirs", variants=arms))
    return found


def event(**fields: Any) -> dict[str, Any]:
    return {"user_id": "u1", "event_type": "view", **fields}


def decode(checks: ExperimentChecks, *items: Any) -> events.EventRows:
    return events.decode_batch(json.dumps({"events": items}).encode(), RECEIVED, SETTINGS, checks.of("acme"))


def test_a_variant_that_is_not_there_is_refused_alone(definitions: Definitions) -> None:
    """exp.errors.validation_error: index, field and fix."""
    good = event(experiment_id="checkout", variant="treatment", metadata={"value": 2}, colour="red")
    rows = decode(ExperimentChecks(definitions, SETTINGS), good, event(experiment_id="checkout", variant="blue"), good)
    (error,) = rows.errors
    assert (error.index, error.field) == (1, "variant")
    assert error.message == "Experiment 'checkout' has no variant 'blue'; it has 'control', 'treatment'."
    assert rows.rows == 2 and [e.variant for e in rows.events] == ["treatment"] * 2 and rows.extras == ['{"colour":"red"}'] * 2


def test_the_id_of_a_variant_is_explained(definitions: Definitions) -> None:
    (error,) = decode(ExperimentChecks(definitions, SETTINGS), event(experiment_id="checkout", variant="var_b")).errors
    assert error.message.endswith("That is the id of the variant 'treatment'; send its name.")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"variant": "blue"},
        {"experiment_id": "checkout"},
        {"experiment_id": "checkout", "variant": ""},
        {"experiment_id": "checkout", "variant": "control"},
        {"experiment_id": "open", "variant": "blue"},
        {"experiment_id": "never-defined", "variant": "blue"},
        {"experiment_id": "theirs", "variant": "blue"},
    ],
)
def test_everything_else_is_taken(definitions: Definitions, fields: dict[str, Any]) -> None:
    rows = decode(ExperimentChecks(definitions, SETTINGS), event(**fields), event(experiment_id="checkout", variant="control"))
    assert not rows.errors and rows.rows == 2


def test_good_pairs_whose_parts_could_be_paired_badly_are_good(definitions: Definitions) -> None:
    assert not decode(
        ExperimentChecks(definitions, SETTINGS), event(experiment_id="checkout", variant="control"), event(experiment_id="open", variant="x")
    ).errors


def test_unknown_experiments_are_refused_on_request(definitions: Definitions) -> None:
    checks = ExperimentChecks(definitions, IngestSettings(unknown_experiments="refuse"))
    rows = decode(checks, event(experiment_id="chekout"), event(experiment_id="theirs"), event(), event(experiment_id="x" * 500))
    assert [(error.index, error.field) for error in rows.errors] == [(0, "experiment_id"), (1, "experiment_id"), (3, "experiment_id")]
    assert rows.errors[0].message == "There is no experiment 'chekout'. Did you mean 'checkout'?"
    assert rows.errors[1].message == "There is no experiment 'theirs'. Create it first." and rows.rows == 1
    with pytest.raises(ValidationFailed) as failed:
        events.decode_single(json.dumps(event(experiment_id="chekout")).encode(), RECEIVED, SETTINGS, checks.of("acme"))
    assert failed.value.details == {"field": "experiment_id"}


def test_a_tenant_without_experiments_is_refused_too() -> None:
    assert decode(ExperimentChecks(Definitions(), IngestSettings(unknown_experiments="refuse")), event(experiment_id="x")).errors


def test_looking_for_the_closest_is_bounded(definitions: Definitions) -> None:
    checks = ExperimentChecks(definitions, IngestSettings(unknown_experiments="refuse"))
    errors = decode(checks, *(event(experiment_id=f"checkou{n}") for n in range(50))).errors
    assert len(errors) == 50 and sum("Did you mean" in error.message for error in errors) == MAX_SUGGESTIONS


def test_a_changed_experiment_holds_for_the_next_request(definitions: Definitions) -> None:
    checks = ExperimentChecks(definitions, SETTINGS)
    blue = event(experiment_id="checkout", variant="blue")
    before = checks.of("acme")
    assert decode(checks, blue).errors
    define(definitions, Experiment("acme", "checkout", variants=(Variant("control"), Variant("blue"))), version=2)
    assert not decode(checks, blue).errors
    assert events.decode_batch(json.dumps({"events": [blue]}).encode(), RECEIVED, SETTINGS, before).errors, "one that began before is judged as it was"

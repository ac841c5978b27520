"""Exposures: stored once, waited for, and never in the way of an answer."""

import asyncio

from infra.runtime.errors import Unavailable
from ingest.events import EventRows
from ingest.exposures import PAUSE_S, Exposures
from schemas.assignment import Assignment
from schemas.definition_kinds import Variant
from tests.clock import HandClock
from tests.unit.ingest.evaluation_support import Kept

ON = Assignment("exp", Variant("on"), "assigned")


async def test_an_exposure_is_an_event_and_stored_once() -> None:
    kept, clock = Kept(), HandClock()
    exposures = Exposures(kept, clock)
    first = await exposures.record("acme", "u1", ON, "assignment", "sdk/1")
    assert (first.stored, first.position) == (True, "events:0:1")
    again = await exposures.record("acme", "u1", ON, "assignment", "sdk/1")
    assert (again.stored, again.position) == (True, "") and len(kept.rows) == 1
    (rows,) = kept.rows
    assert (rows.received.tenant, rows.received.source, rows.received.sdk, rows.received.at_us) == ("acme", "assignment", "sdk/1", clock.us)
    (event,) = rows.events
    assert (event.user_id, event.event_type, event.experiment_id, event.variant) == ("u1", "exposure", "exp", "on")
    assert (rows.metadata.data, rows.keyed, list(rows.times)) == (b'{"source":"assignment"}', False, [clock.us])


async def test_another_unit_variant_experiment_or_tenant_is_another_exposure() -> None:
    kept = Kept()
    exposures = Exposures(kept, HandClock())
    await exposures.record("acme", "u1", ON, "assignment", "")
    await exposures.record("acme", "u2", ON, "assignment", "")
    await exposures.record("acme", "u1", Assignment("exp", Variant("off"), "assigned"), "assignment", "")
    await exposures.record("acme", "u1", Assignment("exp2", Variant("on"), "assigned"), "assignment", "")
    await exposures.record("other", "u1", ON, "assignment", "")
    assert len(kept.rows) == 5
    assert len({event_id for rows in kept.rows for event_id in rows.ids}) == 5


async def test_what_does_not_count_is_not_stored() -> None:
    kept = Kept()
    exposures = Exposures(kept, HandClock())
    silent = (None, Assignment("exp", None, "traffic"), Assignment("exp", Variant("on"), "override"), Assignment("exp", Variant("on"), "rolled_back"))
    for assignment in silent:
        assert await exposures.record("acme", "u1", assignment, "assignment", "") == (False, "")
    assert kept.rows == []


async def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    kept = Kept()
    exposures = Exposures(kept, HandClock(), remembered=2)
    for unit in ("a", "b", "a", "c", "a", "b"):
        await exposures.record("acme", unit, ON, "assignment", "")
    assert [unit for unit, _, _ in kept.exposures] == ["a", "b", "c", "b"]


async def test_while_kafka_is_away_one_in_a_while_tries_and_the_others_do_not_wait() -> None:
    kept, clock = Kept(), HandClock()
    exposures = Exposures(kept, clock)
    kept.failure = Unavailable("away")
    assert not (await exposures.record("acme", "u1", ON, "assignment", "")).stored
    kept.failure = None
    assert not (await exposures.record("acme", "u1", ON, "assignment", "")).stored, "it is too early to try again"
    clock.forward(PAUSE_S)
    assert (await exposures.record("acme", "u1", ON, "assignment", "")).stored
    assert (await exposures.record("acme", "u2", ON, "assignment", "")).stored, "and everybody tries again after a success"


async def test_a_store_that_does_not_answer_is_not_waited_for() -> None:
    async def never(rows: EventRows) -> str:
        await asyncio.Event().wait()
        return ""

    exposures = Exposures(never, HandClock(), patience_s=0.01)
    assert await exposures.record("acme", "u1", ON, "assignment", "") == (False, "")

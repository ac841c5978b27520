"""An experiment is completed once its end has passed: once, with a line in the audit log, and by nobody's request."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from query_api.control.audit import AuditFilter, AuditRecord
from query_api.control.leadership import Leadership
from query_api.domain import endings as module
from query_api.domain.endings import SCHEDULE, Endings
from schemas.assignment import assigner
from schemas.definition_kinds import Experiment, ExperimentStatus, Variant
from tests.support import eventually
from tests.unit.query_api.stored import Service

# The service's clock starts here and moves by milliseconds.
NOW = datetime.fromtimestamp(1_000, UTC)
PAST, FUTURE = NOW - timedelta(days=1), NOW + timedelta(days=1)
OVER = Experiment("default", "over", variants=(Variant("control"), Variant("treatment")), status="active", ends_at=PAST)


def _endings(service: Service) -> Endings:
    return Endings(service.parts.stored, service.parts.definitions, Leadership(service.parts.control.engine, "endings"))


async def _log(service: Service) -> list[AuditRecord]:
    found, _ = await service.parts.control.audit_log("default", AuditFilter(kind="experiment"))
    return list(found)


def _status(service: Service, name: str) -> str:
    found = service.parts.definitions.experiment("default", name)
    assert found is not None
    return found.status


async def test_it_is_completed_once_and_no_longer_assigns(service: Service) -> None:
    await service.define(OVER)
    for _ in range(3):
        await _endings(service).complete_due()
        await service.follow()
    after = service.parts.definitions.experiment("default", "over")
    assert after is not None and (after.status, after.ends_at) == ("completed", PAST)
    assert assigner(after, None)("u1", {}).reason == "not_running"
    (line,) = await _log(service)
    assert (line.entry.actor, line.entry.action) == (SCHEDULE, "experiment.ended")
    assert (line.entry.before, line.entry.after) == ({"status": "active"}, {"status": "completed"})


@pytest.mark.parametrize(("status", "end"), [("active", FUTURE), ("active", None), ("paused", PAST), ("draft", PAST), ("archived", PAST)])
async def test_what_has_not_ended_or_does_not_run_is_left_alone(service: Service, status: ExperimentStatus, end: datetime | None) -> None:
    await service.define(msgspec.structs.replace(OVER, status=status, ends_at=end))
    await _endings(service).complete_due()
    await service.follow()
    assert _status(service, "over") == status and await _log(service) == []


async def test_what_was_changed_since_is_judged_as_it_is_stored(service: Service) -> None:
    await service.define(OVER)
    before = service.parts.definitions.experiment("default", "over")
    await service.define(msgspec.structs.replace(OVER, ends_at=FUTURE))
    # The definitions in memory lag behind the store.
    assert before is not None
    endings = _endings(service)
    await endings._complete(before)
    assert await _log(service) == []
    await endings._complete(msgspec.structs.replace(OVER, id="gone"))


async def test_one_process_leads_and_another_takes_over(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    ready = asyncio.Event()
    ready.set()

    async def known() -> None:
        await ready.wait()

    first, second = (asyncio.create_task(_endings(service).run(known)) for _ in range(2))

    async def completed(name: str) -> bool:
        await service.follow()
        return _status(service, name) == "completed"

    await service.define(OVER)
    await eventually(lambda: completed("over"))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await service.define(msgspec.structs.replace(OVER, id="later"))
    await eventually(lambda: completed("later"))
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert [line.entry.id for line in await _log(service)] == ["later", "over"]

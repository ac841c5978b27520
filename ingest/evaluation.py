"""The doors that answer what a user gets: one flag, or the assignment in one experiment. They know only what is in memory."""

from typing import Any, NamedTuple

import msgspec

from infra.runtime.clock import Clock
from infra.runtime.errors import NotFound, ValidationFailed
from ingest.admission import Caller
from ingest.evaluators import Evaluators
from ingest.events import MAX_NAME
from ingest.exchange import DoorAnswer, DoorRequest
from ingest.exposures import Exposures, Recorded
from ingest.json_doors import JSON
from ingest.json_rows import sdk_of
from schemas.assignment import Assignment
from schemas.windows import to_iso

MAX_ID = 200
"""Longest key of a flag and id of an experiment, in characters."""
MAX_CONTEXT = 16_384
"""Largest `context`, in characters."""

_encode = msgspec.json.Encoder().encode


class _Question(NamedTuple):
    """A decoded query string."""

    name: str
    """Key of the flag or id of the experiment."""
    unit: str
    context: dict[str, Any]
    record: bool


class EvaluationDoors:
    """`GET /api/v1/feature-flags/evaluate` and `GET /api/v1/assignments`."""

    def __init__(self, evaluators: Evaluators, exposures: Exposures, clock: Clock) -> None:
        self._evaluators = evaluators
        self._exposures = exposures
        self._clock = clock

    async def flag(self, request: DoorRequest, caller: Caller) -> DoorAnswer:
        """The variation of a flag. Raises NotFound, and ValidationFailed with the parameter at fault."""
        asked = _question(request.parameters, "key")
        ready = self._evaluators.flag(caller.tenant, asked.name)
        if ready is None:
            raise NotFound(f"There is no feature flag with the key {asked.name!r}. List them with GET /api/v1/feature-flags.", details={"key": asked.name})
        found = ready.evaluate(asked.unit, asked.context)
        recorded = await self._record(asked, caller, found.assignment, "flag_evaluation", request)
        variant = found.assignment.variant if found.assignment else None
        data = {
            "key": asked.name,
            "enabled": ready.flag.enabled,
            "variation": found.variation.key,
            "value": ready.value_of(found.variation),
            "rule_id": found.rule_id or None,
            "reason": found.reason,
            "experiment_id": found.assignment.experiment if found.assignment else None,
            "variant": variant.name if variant else None,
            "recorded": recorded.stored,
        }
        return _answer(data, recorded.position)

    async def assignment(self, request: DoorRequest, caller: Caller) -> DoorAnswer:
        """The variant of a user in an experiment. Raises NotFound, and ValidationFailed with the parameter at fault."""
        asked = _question(request.parameters, "experiment_id")
        assign = self._evaluators.assigner(caller.tenant, asked.name)
        if assign is None:
            raise NotFound(f"There is no experiment {asked.name!r}. List them with GET /api/v1/experiments.", details={"experiment_id": asked.name})
        found = assign(asked.unit, asked.context)
        recorded = await self._record(asked, caller, found, "assignment", request)
        data = {
            "experiment_id": asked.name,
            "user_id": asked.unit,
            "variant": found.variant.name if found.variant else None,
            "variant_id": (found.variant.id or found.variant.name) if found.variant else None,
            "timestamp": to_iso(self._clock.now_us()),
            "reason": found.reason,
            "recorded": recorded.stored,
        }
        return _answer(data, recorded.position)

    async def _record(self, asked: _Question, caller: Caller, assignment: Assignment | None, source: str, request: DoorRequest) -> Recorded:
        if not asked.record:
            return Recorded(False)
        return await self._exposures.record(caller.tenant, asked.unit, assignment, source, sdk_of(request.headers))


def _answer(data: dict[str, Any], position: str) -> DoorAnswer:
    headers = {"Cache-Control": "no-store"}
    if position:
        headers["X-Millstream-Position"] = position
    return DoorAnswer(200, _encode({"data": data, "meta": {}}), JSON, headers)


def _question(given: dict[str, str], name: str) -> _Question:
    unit = _text(given, "user_id", MAX_NAME)
    context = _context(given.get("context", ""))
    context.setdefault("user_id", unit)
    record = given.get("record", "true")
    if record not in ("true", "false"):
        raise _fault("record", "must be true or false")
    return _Question(_text(given, name, MAX_ID), unit, context, record == "true")


def _text(given: dict[str, str], name: str, limit: int) -> str:
    text = given.get(name, "")
    if not text:
        raise _fault(name, "is required")
    if len(text) > limit:
        raise _fault(name, f"has {len(text)} characters; the limit is {limit}")
    return text


def _context(text: str) -> dict[str, Any]:
    if not text:
        return {}
    if len(text) > MAX_CONTEXT:
        raise _fault("context", f"has {len(text)} characters; the limit is {MAX_CONTEXT}")
    try:
        context = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _fault("context", f"must be a JSON object, percent-encoded: {error}") from error
    if not isinstance(context, dict):
        raise _fault("context", 'must be a JSON object such as {"country":"US"}, percent-encoded')
    return context


def _fault(field: str, problem: str) -> ValidationFailed:
    return ValidationFailed(f"`{field}` {problem}.", details={"field": field})

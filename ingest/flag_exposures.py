"""Flag evaluations in OTLP are exposures: an application with OpenFeature's OpenTelemetry hooks takes part in experiments with no SDK of ours.

An evaluation is a log record or a span event named `feature_flag.evaluation`, with the attributes of OpenTelemetry's semantic conventions
for feature flags. It belongs to an experiment when its flag runs one or when its key is the id of one; every other evaluation is stored as
what it is and no more. It counts when the hash of the unit decided: an answer that was fixed, an override, an error or a rule says nothing
about the arm a unit is in. A flag that runs an experiment should therefore not split the same variants by a rule of its own.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from ingest import events
from ingest.events import EventIn, EventRows
from ingest.json_rows import Received
from ingest.otlp_read import RECORDS, TRACES, Reading, Signal
from schemas.any_value import typed
from schemas.definitions import Definitions, Experiment
from schemas.windows import to_iso

NAME = "feature_flag.evaluation"
_MARK = NAME.encode()
_KEY, _SET, _UNIT = "feature_flag.key", "feature_flag.set.id", "feature_flag.context.id"
_VARIANT, _REASON, _ERROR = "feature_flag.result.variant", "feature_flag.result.reason", "error.type"
_KEPT = {_KEY: "flag", _SET: "flag_set", _REASON: "reason", "feature_flag.version": "flag_version", "feature_flag.provider.name": "provider"}
"""Attributes kept as metadata of the exposure."""
_FORMER = {"feature_flag.variant": _VARIANT, "feature_flag.evaluation.reason": _REASON, "feature_flag.provider_name": "feature_flag.provider.name"}
"""Earlier names of attributes, which OpenFeature's SDK for Python still uses, and what they became in version 1.32 and 1.34 of the conventions."""
_SPLIT = frozenset(("", "split", "cached"))
"""Reasons with which a flag of ours may have asked its experiment; a cache hides the first one."""
_NOT_SPLIT = frozenset(("static", "default", "disabled", "error"))
"""Reasons with which no provider has looked at the unit."""


class Evaluation(NamedTuple):
    """One evaluation of a flag, as it was recorded."""

    at_ns: int
    """0 when the record has no time."""
    origin: bytes
    """Trace and span it was part of; may be empty."""
    attributes: dict[str, str]


class FlagExposures:
    """Finds evaluations in OTLP requests and stores them as exposure events beside the request itself."""

    def __init__(self, definitions: Definitions, store: Callable[[EventRows], Awaitable[str]]) -> None:
        self._definitions = definitions
        self._store = store

    async def store(self, rows: EventRows) -> str:
        """Store the exposures and give their position once every in-sync replica has them. Raises Unavailable."""
        return await self._store(rows)

    def added(self, signal: Signal, request: Any, reading: Reading, tenant: str, now_us: int) -> Reading:
        """The reading with the exposures of its good items. A request without any costs one search of its bytes."""
        evaluations = _FINDERS.get(signal.name)
        if evaluations is None or reading.part is None or _MARK not in reading.part.body:
            return reading
        found: list[EventIn] = []
        faults: dict[str, None] = {}
        for evaluation in evaluations(request):
            outcome = self._exposure(evaluation, tenant)
            if isinstance(outcome, EventIn):
                found.append(outcome)
            elif outcome:
                faults[outcome] = None
        if faults:
            reason = "; ".join([*filter(None, [reading.reason]), *list(faults)[:5]])
            reading = replace(reading, reason=reason)
        if not found:
            return reading
        return replace(reading, exposures=events.rows_of(found, Received(tenant, now_us, "", "opentelemetry", "otlp")))

    def _exposure(self, evaluation: Evaluation, tenant: str) -> EventIn | str:
        """The exposure, or why there is none; an empty reason when nobody would expect one."""
        attributes = evaluation.attributes
        experiment = self._experiment(tenant, attributes)
        variant, unit = attributes.get(_VARIANT, ""), attributes.get(_UNIT, "")
        if experiment is None or unit in experiment.overrides:
            return ""
        of = f"evaluations of flag {attributes[_KEY]!r} are stored but not counted as exposures"
        if not 0 < len(unit) <= events.MAX_NAME:
            return f"{of}: `{_UNIT}` must be the targeting key, 1 to {events.MAX_NAME} characters"
        if not 0 < len(variant) <= events.MAX_NAME:
            return f"{of}: `{_VARIANT}` is missing"
        names = [known.name for known in experiment.variants]
        if names and variant not in names:
            return f"{of} where the variant is none of experiment {experiment.id!r}: {', '.join(names)}"
        return EventIn(
            user_id=unit,
            event_type="exposure",
            experiment_id=experiment.id,
            variant=variant,
            timestamp=to_iso(evaluation.at_ns // 1_000) if evaluation.at_ns else None,
            metadata=msgspec.Raw(msgspec.json.encode({_KEPT[name]: value for name, value in attributes.items() if name in _KEPT})),
            id=_id(evaluation, experiment.id),
        )

    def _experiment(self, tenant: str, attributes: dict[str, str]) -> Experiment | None:
        """The experiment that an evaluation is an exposure to."""
        key, reason = attributes.get(_KEY, ""), attributes.get(_REASON, "").lower()
        if _ERROR in attributes:
            return None
        flag = self._definitions.flag_by_key(tenant, key)
        if flag and flag.experiment:
            return self._definitions.experiment(tenant, flag.experiment) if reason in _SPLIT else None
        return self._definitions.experiment(tenant, key) if reason not in _NOT_SPLIT else None


def _id(evaluation: Evaluation, experiment: str) -> str:
    """The same for the same evaluation however often it is exported, so that the events table keeps it once."""
    parts = [experiment, str(evaluation.at_ns), evaluation.origin.hex(), *(evaluation.attributes.get(name, "") for name in (_KEY, _SET, _UNIT, _VARIANT))]
    return "flag_" + hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _texts(attributes: Any) -> dict[str, str]:
    """Attributes about the flag, as text."""
    return {_FORMER.get(each.key, each.key): str(typed(each.value)) for each in attributes if each.key.startswith("feature_flag.") or each.key == _ERROR}


def _of_logs(request: Any) -> Iterator[Evaluation]:
    for group in request.resource_logs:
        for scope in group.scope_logs:
            for record in scope.log_records:
                if record.event_name == NAME or any(each.key == "event.name" and each.value.string_value == NAME for each in record.attributes):
                    at = record.time_unix_nano or record.observed_time_unix_nano
                    yield Evaluation(at, record.trace_id + record.span_id, _texts(record.attributes))


def _of_spans(request: Any) -> Iterator[Evaluation]:
    for group in request.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                for event in span.events:
                    if event.name == NAME:
                        yield Evaluation(event.time_unix_nano or span.start_time_unix_nano, span.trace_id + span.span_id, _texts(event.attributes))


_FINDERS: dict[str, Callable[[Any], Iterator[Evaluation]]] = {RECORDS.name: _of_logs, TRACES.name: _of_spans}

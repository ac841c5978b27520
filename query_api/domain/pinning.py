"""Units that were exposed keep their variant when the weights of their experiment change: the rule of `schemas.assignment`, carried out.

The change and the pins are one transaction, and the pins reach the evaluating processes first. What is exposed by the old weights while the
change is on its way is pinned by looking again after `AGAIN_S`. That is remembered in this process only: after a restart in between,
the units of those seconds follow the new weights.
"""

import asyncio
import contextlib
from array import array
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np
import structlog

from infra.runtime.clock import Clock
from infra.runtime.errors import Conflict, MillstreamError
from query_api.control.audit import Actor, audited
from query_api.control.store import Draft
from query_api.domain.stored import StoredDefinitions
from query_api.readers.exposed_units import Exposed, ExposedUnits
from schemas.assignment import variants_by_weight
from schemas.definition_kinds import Experiment, encode_definition
from schemas.pins import MAX_PINS, Pin, PinnedUnits, Pins, part_ids, unit_hash, with_pins

_log = structlog.get_logger()

PINNING: Final = Actor("", "sticky assignments")
"""Who the audit log names for pins that were added later."""
AGAIN_S: Final = (5.0, 60.0)
"""When the exposures are looked at again after a change of weights. The first is later than a change takes to be in force everywhere; the
second is for workers that were behind."""
MAX_WAITING: Final = 1_000
"""Looks that are remembered at a time."""
_ATTEMPTS: Final = 5


class Pinned(NamedTuple):
    """An experiment with its pins."""

    experiment: Experiment
    drafts: list[Draft]
    """Pins to write in the same transaction, before the experiment."""


class Pinning:
    """Finds the units to pin. `run` looks again after changes; everything else works without it."""

    def __init__(self, stored: StoredDefinitions, units: ExposedUnits, clock: Clock, limit: int = MAX_PINS) -> None:
        self._stored = stored
        self._units = units
        self._clock = clock
        self._limit = limit
        self._waiting: dict[tuple[str, str, float], float] = {}
        self._wake = asyncio.Event()

    async def pinned(self, experiment: Experiment) -> Pinned:
        """The experiment, whose weights are the new ones, with a pin for each exposed unit that neither they nor a pin give its variant. Takes seconds for
        each million of exposed units.

        Raises `Conflict` when it would have too many, and `Unavailable` and `QueryLimit` when the exposures cannot be read."""
        parts = [
            found.definition for name in part_ids(experiment.id, experiment.pinned) if (found := await self._stored.get_stored(Pins, experiment.tenant, name))
        ]
        known = await asyncio.to_thread(PinnedUnits, parts)
        added: dict[str, array[int]] = {}
        count = experiment.pinned
        async for page in self._units.pages(experiment.tenant, experiment.id):
            for variant, hashes in (await asyncio.to_thread(_unlike, experiment, known, page)).items():
                added.setdefault(variant, array("Q")).extend(hashes)
                count += len(hashes)
            if count > self._limit:
                raise Conflict(
                    f"variants: the new allocations would move more than {self._limit:,} units that were exposed, too many to be kept where they are; "
                    "change the allocations by less, or stop this experiment and start a new one with the new allocations",
                    details={"fields": ["variants"], "limit": self._limit},
                )
        drafts = await asyncio.to_thread(_drafts, experiment, parts[-1] if parts else None, added) if added else []
        return Pinned(msgspec.structs.replace(experiment, pinned=count), drafts)

    def look_again(self, tenant: str, experiment: str) -> None:
        """Pin what the reading could not see yet, `AGAIN_S` from now."""
        for after_s in AGAIN_S:
            if len(self._waiting) < MAX_WAITING:
                self._waiting[tenant, experiment, after_s] = self._clock.monotonic() + after_s
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. A look that fails is logged and not repeated."""
        while True:
            self._wake.clear()
            for place, at in list(self._waiting.items()):
                if at <= self._clock.monotonic():
                    del self._waiting[place]
                    tenant, experiment, _ = place
                    try:
                        await self.pin_late(tenant, experiment)
                    except MillstreamError as error:
                        _log.warning("late exposures cannot be pinned", tenant=tenant, experiment=experiment, problem=error.message)
            until = min(self._waiting.values(), default=None)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), None if until is None else max(0.0, until - self._clock.monotonic()))

    async def pin_late(self, tenant: str, name: str) -> int:
        """Pins the exposed units that the present weights and pins would move; how many. Raises what `pinned` and the store raise."""
        for attempt in range(_ATTEMPTS):
            found = await self._stored.get_stored(Experiment, tenant, name)
            if found is None or found.definition.status not in ("active", "paused"):
                return 0
            before = found.definition
            after, drafts = await self.pinned(before)
            if not drafts:
                return 0
            changed = Draft("experiment", tenant, name, encode_definition(after), found.version)
            try:
                await self._stored.write([*drafts, changed], [audited(PINNING, "experiment.pinned", before, after)])
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            return after.pinned - before.pinned
        raise AssertionError("unreachable")


def released(experiment: Experiment) -> Pinned:
    """The experiment without its pins, and the drafts that delete them."""
    drafts = [Draft("pins", experiment.tenant, name, None) for name in part_ids(experiment.id, experiment.pinned)]
    return Pinned(msgspec.structs.replace(experiment, pinned=0), drafts)


def _unlike(experiment: Experiment, known: PinnedUnits, page: Exposed) -> dict[str, list[int]]:
    """By variant the hashes of the units that saw another one than they would get now."""
    numbers = {variant.name: number for number, variant in enumerate(experiment.variants)}
    shown = np.array([numbers.get(variant, -1) for variant in page.variants])
    found: dict[str, list[int]] = {}
    for place in np.flatnonzero((shown >= 0) & (shown != variants_by_weight(experiment, page.units))):
        hashed = unit_hash(page.units[place])
        if known.variant_of(hashed) is None:
            found.setdefault(page.variants[place], []).append(hashed)
    return found


def _drafts(experiment: Experiment, last: Pins | None, added: Mapping[str, "array[int]"]) -> list[Draft]:
    parts = with_pins(experiment.tenant, experiment.id, last, _each(added))
    return [Draft("pins", part.tenant, part.id, encode_definition(part)) for part in parts]


def _each(hashes: Mapping[str, "array[int]"]) -> Iterator[Pin]:
    for variant, units in hashes.items():
        for hashed in units:
            yield variant, hashed

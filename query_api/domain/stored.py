"""Definitions as a writer needs them: read back at once what was written, change them with their audit lines, and read on while the store is away."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

import msgspec

from infra.runtime.clock import Clock
from infra.runtime.errors import Unavailable
from query_api.control.audit import AuditEntry
from query_api.control.store import ControlStore, Draft, Payloads, Versions
from schemas.definition_kinds import TYPES, Definition, DefinitionKind
from schemas.definitions import Definitions, EvaluationRule, ExclusionGroup, Experiment, Flag, Key, Metric, Pins, User

D = TypeVar("D", Experiment, ExclusionGroup, Key, Metric, Flag, User, Pins, EvaluationRule)

_KINDS: Mapping[type[Definition], DefinitionKind] = {cls: kind for kind, cls in TYPES.items()}
_IN_MEMORY: Mapping[type[Definition], Callable[[Definitions, str], Sequence[Any]]] = {
    Experiment: Definitions.experiments,
    ExclusionGroup: Definitions.exclusion_groups,
    Key: Definitions.keys,
    Metric: Definitions.metrics,
    Flag: Definitions.flags,
    User: Definitions.users,
    EvaluationRule: Definitions.evaluation_rules,
}


@dataclass(frozen=True)
class Stored(Generic[D]):
    """A definition with what the store knows about it."""

    definition: D
    version: int | None
    """None when it comes from memory because the store is away."""
    changed_at: datetime | None
    """When this version was written; None from memory."""


def creation(stored: Stored[Experiment]) -> datetime | None:
    """When an experiment was created; one defined without that time counts from its last change. None is possible from memory alone."""
    return stored.definition.created_at or stored.changed_at


def new_id(prefix: str) -> str:
    """A new id such as `exp_8c1f0a9be2d34757`: 64 random bits."""
    return f"{prefix}_{secrets.token_hex(8)}"


class StoredDefinitions:
    """The control store, with the definitions in memory behind it for reads."""

    def __init__(self, store: ControlStore, known: Definitions, clock: Clock, wake: Callable[[], None]) -> None:
        """`wake` is called after every change, so that it is published at once."""
        self._store = store
        self._known = known
        self._clock = clock
        self._wake = wake

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.fromtimestamp(self._clock.now_us() / 1_000_000, UTC)

    async def get(self, cls: type[D], tenant: str, name: str) -> Stored[D] | None:
        """One definition, None when there is none. From memory while the store is away."""
        try:
            return await self.get_stored(cls, tenant, name)
        except Unavailable:
            return next((Stored(each, None, None) for each in self._from_memory(cls, tenant) if each.id == name), None)

    async def get_stored(self, cls: type[D], tenant: str, name: str) -> Stored[D] | None:
        """The same for somebody who will change it: raises `Unavailable` while the store is away."""
        record = await self._store.get(_KINDS[cls], tenant, name)
        return None if record is None else _stored(cls, record.payload, record.version, record.updated_at_us)

    async def every(self, cls: type[D], tenant: str) -> list[Stored[D]]:
        """All definitions of a kind, by id. From memory while the store is away."""
        try:
            records = await self._store.every(_KINDS[cls], tenant)
        except Unavailable:
            return [Stored(each, None, None) for each in self._from_memory(cls, tenant)]
        return [_stored(cls, record.payload, record.version, record.updated_at_us) for record in records]

    async def write(self, drafts: Sequence[Draft], audit: Sequence[AuditEntry], forbidden: Callable[[Payloads], None] | None = None) -> Versions:
        """`ControlStore.write`, published at once."""
        versions = await self._store.write(drafts, audit, forbidden)
        self._wake()
        return versions

    def _from_memory(self, cls: type[D], tenant: str) -> Sequence[D]:
        return cast(Sequence[D], _IN_MEMORY[cls](self._known, tenant))


def _stored(cls: type[D], payload: str, version: int, updated_at_us: int) -> Stored[D]:
    return Stored(msgspec.json.decode(payload, type=cls), version, datetime.fromtimestamp(updated_at_us / 1_000_000, UTC))

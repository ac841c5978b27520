"""The definitions in force, built from control records; what ingest and streams look things up in.

This module is also the one place to import everything about definitions from.
"""

import hmac
from bisect import bisect_right
from collections.abc import Callable, Collection
from typing import TypeVar, cast

import msgspec

from schemas.api_keys import hash_secret, make_key, parse_key
from schemas.default_prices import DEFAULT_PRICE_LIST
from schemas.definition_kinds import (
    KINDS,
    ROLE_SCOPES,
    TYPES,
    ControlRecord,
    Definition,
    DefinitionKind,
    Experiment,
    Key,
    LlmPrice,
    Metric,
    PriceList,
    Role,
    Scope,
    Tenant,
    Variant,
    decode_definition,
    encode_definition,
)
from schemas.effective_experiment import EffectiveExperiment, resolve_experiment
from schemas.evaluation_rule import EvaluationRule
from schemas.exclusion import ExclusionGroup
from schemas.fields import to_us
from schemas.flag import Flag
from schemas.pins import Pins, part_ids
from schemas.user import User

__all__ = [
    "DEFAULT_PRICE_LIST",
    "KINDS",
    "ROLE_SCOPES",
    "Change",
    "ControlRecord",
    "Definition",
    "DefinitionKind",
    "Definitions",
    "EffectiveExperiment",
    "EvaluationRule",
    "ExclusionGroup",
    "Experiment",
    "Flag",
    "Key",
    "LlmPrice",
    "Metric",
    "Pins",
    "PriceList",
    "Role",
    "Scope",
    "Tenant",
    "User",
    "Variant",
    "decode_definition",
    "effective_experiment",
    "encode_definition",
    "hash_secret",
    "make_key",
    "parse_key",
    "to_us",
]


D = TypeVar("D", Tenant, Key, User, Experiment, ExclusionGroup, Metric, Flag, PriceList, Pins, EvaluationRule)


class Change(msgspec.Struct, frozen=True):
    """One definition that came, changed or went."""

    kind: DefinitionKind
    tenant: str
    id: str
    before: Definition | None
    after: Definition | None


class Definitions:
    """A registry in memory. Lookups never block and never raise.

    It belongs to one thread; the listeners run in the thread that calls `apply`, before `apply` returns.
    """

    def __init__(self) -> None:
        self.version = 0
        """Rises by one with every change: a cheap test whether something derived is still fresh."""
        self._versions: dict[bytes, int] = {}
        self._by_kind: dict[type[Definition], dict[str, dict[str, Definition]]] = {cls: {} for cls in TYPES.values()}
        self._keys_by_hash: dict[str, Key] = {}
        self._price_order: dict[str, list[PriceList]] = {}
        self._flags_by_key: dict[tuple[str, str], Flag] = {}
        self._listeners: list[Callable[[Change], None]] = []

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Calls `listener` after every change from now on. It must not raise."""
        self._listeners.append(listener)

    def apply(self, record: ControlRecord) -> bool:
        """Takes a record in; True when it changed something.

        Idempotent and safe in any order: a version not above the known one is skipped, and a deletion is remembered
        so that an older record cannot bring the definition back. Unknown kinds are skipped. Raises
        `msgspec.ValidationError`, with nothing changed, when the payload does not fit its kind.
        """
        kind = next((kind for kind in KINDS if kind == record.kind), None)
        if kind is None or record.version <= self._versions.get(record.key, 0):
            return False
        after = None if record.deleted else decode_definition(kind, record.payload)
        if after is not None and (after.tenant, after.id) != (record.tenant, record.id):
            raise msgspec.ValidationError(f"record {record.key.decode()} carries the definition of {after.tenant}/{after.id}")
        self._versions[record.key] = record.version
        before = self._by_kind[TYPES[kind]].get(record.tenant, {}).get(record.id)
        if before == after:
            return False
        self._set(kind, record.tenant, record.id, after)
        self.version += 1
        change = Change(kind, record.tenant, record.id, before, after)
        for listener in self._listeners:
            listener(change)
        return True

    def key_for(self, text: str, now_us: int) -> Key | None:
        """The key with this text, if it is neither revoked nor expired at `now_us`. Any text may be asked for.

        The key of a user comes with the role that the user has now, and not at all once the user is gone."""
        digest = hash_secret(text)
        key = self._keys_by_hash.get(digest)
        if key is None or not hmac.compare_digest(key.sha256, digest):
            return None
        return self.valid_key(key.tenant, key.id, now_us)

    def valid_key(self, tenant: str, key_id: str, now_us: int) -> Key | None:
        """The key with this id, under the same conditions as `key_for`."""
        key = self._of(Key, tenant).get(key_id)
        if key is None or not key.valid_at(now_us):
            return None
        return key if not key.user else self._held_by_user(key)

    def _held_by_user(self, key: Key) -> Key | None:
        user = self.user(key.tenant, key.user)
        if user is None:
            return None
        scopes = tuple(scope for scope in key.scopes if scope in ROLE_SCOPES[user.role])
        if key.scopes and not scopes:
            return None
        return msgspec.structs.replace(key, role=user.role, scopes=scopes)

    def tenant(self, tenant: str) -> Tenant | None:
        return self._of(Tenant, tenant).get(tenant)

    def tenants(self) -> tuple[Tenant, ...]:
        """All tenants, by id."""
        found = (self.tenant(name) for name in sorted(self._by_kind[Tenant]))
        return tuple(tenant for tenant in found if tenant is not None)

    def keys(self, tenant: str) -> tuple[Key, ...]:
        """All keys of a tenant, also revoked ones, by id."""
        return _sorted_values(self._of(Key, tenant))

    def experiment(self, tenant: str, experiment_id: str) -> Experiment | None:
        return self._of(Experiment, tenant).get(experiment_id)

    def experiments(self, tenant: str) -> tuple[Experiment, ...]:
        """All experiments defined for a tenant, by id."""
        return _sorted_values(self._of(Experiment, tenant))

    def pins(self, experiment: Experiment) -> tuple[Pins, ...]:
        """The pins of an experiment, as far as they are known, in order."""
        parts = self._of(Pins, experiment.tenant)
        return tuple(parts[name] for name in part_ids(experiment.id, experiment.pinned) if name in parts)

    def metric(self, tenant: str, metric_id: str) -> Metric | None:
        return self._of(Metric, tenant).get(metric_id)

    def metrics(self, tenant: str) -> tuple[Metric, ...]:
        """All metrics defined for a tenant, by id."""
        return _sorted_values(self._of(Metric, tenant))

    def user(self, tenant: str, user_id: str) -> User | None:
        return self._of(User, tenant).get(user_id)

    def users(self, tenant: str) -> tuple[User, ...]:
        """All users of a tenant, by id."""
        return _sorted_values(self._of(User, tenant))

    def exclusion_group(self, tenant: str, group_id: str) -> ExclusionGroup | None:
        return self._of(ExclusionGroup, tenant).get(group_id)

    def exclusion_groups(self, tenant: str) -> tuple[ExclusionGroup, ...]:
        """All exclusion groups of a tenant, by id."""
        return _sorted_values(self._of(ExclusionGroup, tenant))

    def flag(self, tenant: str, flag_id: str) -> Flag | None:
        return self._of(Flag, tenant).get(flag_id)

    def flag_by_key(self, tenant: str, key: str) -> Flag | None:
        return self._flags_by_key.get((tenant, key))

    def flags(self, tenant: str) -> tuple[Flag, ...]:
        """All flags of a tenant, by id."""
        return _sorted_values(self._of(Flag, tenant))

    def evaluation_rule(self, tenant: str, rule_id: str) -> EvaluationRule | None:
        return self._of(EvaluationRule, tenant).get(rule_id)

    def evaluation_rules(self, tenant: str) -> tuple[EvaluationRule, ...]:
        """All evaluation rules of a tenant, by id."""
        return _sorted_values(self._of(EvaluationRule, tenant))

    def price_lists(self, tenant: str) -> tuple[PriceList, ...]:
        """The price lists of a tenant in the order they come into force. Where two start together the higher version
        holds, then the later name."""
        return tuple(self._price_order.get(tenant, ()))

    def price_list(self, tenant: str, at_us: int) -> PriceList:
        """The price list that governs a tenant at a time; the default list before the tenant's first."""
        order = self._price_order.get(tenant, [])
        place = bisect_right(order, at_us, key=_starts_us)
        return order[place - 1] if place else DEFAULT_PRICE_LIST

    def governed_span(self, prices: PriceList) -> tuple[int, int | None]:
        """The time a price list governs for its tenant, [from, until) in microseconds; None means for ever. What a new
        version makes out of date, so what to recompute. A list that was overtaken has an empty span."""
        starts = _starts_us(prices)
        order = self._price_order.get(prices.tenant, [])
        if prices in order:
            later = order[order.index(prices) + 1 :]
            return starts, _starts_us(later[0]) if later else None
        return starts, next((_starts_us(other) for other in order if _starts_us(other) > starts), None)

    def _of(self, cls: type[D], tenant: str) -> dict[str, D]:
        return cast(dict[str, D], self._by_kind[cls].get(tenant, {}))

    def _set(self, kind: DefinitionKind, tenant: str, name: str, value: Definition | None) -> None:
        table = self._by_kind[TYPES[kind]].setdefault(tenant, {})
        old = table.pop(name, None)
        if value is not None:
            table[name] = value
        if isinstance(old, Key) and self._keys_by_hash.get(old.sha256) == old:
            del self._keys_by_hash[old.sha256]
        if isinstance(value, Key):
            self._keys_by_hash[value.sha256] = value
        if isinstance(old, Flag) and self._flags_by_key.get((tenant, old.key)) == old:
            del self._flags_by_key[(tenant, old.key)]
        if isinstance(value, Flag):
            self._flags_by_key[(tenant, value.key)] = value
        if kind == "price_list":
            self._price_order[tenant] = sorted(self._of(PriceList, tenant).values(), key=lambda each: (_starts_us(each), each.version, each.name))


def effective_experiment(
    definitions: Definitions, tenant: str, experiment_id: str, seen_event_types: Collection[str], seen_variants: Collection[str]
) -> EffectiveExperiment:
    """What to compute for an experiment, defined or not; the rules stand in `schemas.effective_experiment`."""
    defined = definitions.experiment(tenant, experiment_id)
    return resolve_experiment(defined, tenant, experiment_id, definitions.metrics(tenant), seen_event_types, seen_variants)


def _starts_us(prices: PriceList) -> int:
    return to_us(prices.effective_from)


def _sorted_values(values: dict[str, D]) -> tuple[D, ...]:
    return tuple(values[name] for name in sorted(values))

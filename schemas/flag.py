"""A feature flag as defined."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from schemas.fields import Name, Percent, TenantId, Time
from schemas.targeting import Rule, check

KEY_FORM: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
"""Of a flag's key: it stands in the paths of clients that escape nothing."""
FlagKey = Annotated[str, Meta(pattern=rf"^{KEY_FORM}\Z", description="Letters, digits, dot, dash, underscore; begins with a letter or digit; up to 128.")]

_JSON_TYPES: Final[Mapping[type, str]] = {bool: "boolean", str: "string", int: "number", float: "number", dict: "object", list: "array", type(None): "null"}


def flag_id(key: str) -> str:
    """The id of the flag with a key. It follows from the key, so that one row of the store stands for both and no key can be given twice."""
    return "flag_" + hashlib.sha256(key.encode()).hexdigest()[:16]


def json_type(value: Any) -> str:
    """The JSON type of a value; every number is of one type."""
    return _JSON_TYPES[type(value)]


class Variation(msgspec.Struct, frozen=True):
    """One value a flag can take."""

    id: Name
    key: Name
    value: Any
    """Any JSON value; all variations of a flag are of one type."""


class FlagRule(msgspec.Struct, frozen=True):
    """Who gets what: the first rule that matches decides."""

    id: Name
    rule: Rule
    rollout_percentage: Percent = 100.0
    """Share of the matching units that get `variation`; the others get the flag's off variation."""
    variation: str = ""
    """Key of a variation; empty means the first one."""


class DefaultRule(msgspec.Struct, frozen=True):
    """What holds for units that no rule matches."""

    rollout_percentage: Percent = 0.0
    variation: str = ""
    """Key of a variation; empty means the first one."""


class Flag(msgspec.Struct, frozen=True):
    """A feature flag. Its first variation is "on", its last one is "off"."""

    tenant: TenantId
    id: Name
    key: FlagKey
    name: str = ""
    description: str = ""
    enabled: bool = False
    """A disabled flag answers its off variation to everybody."""
    variations: tuple[Variation, ...] = ()
    rules: tuple[FlagRule, ...] = ()
    default_rule: DefaultRule = DefaultRule()
    experiment: str = ""
    """Id of an experiment whose assignment decides for units that no rule matches: the variation has the variant's name as key."""
    seed: str = ""
    """What units are hashed with; empty means the id, so that two flags split units independently."""
    created_at: Time | None = None
    updated_at: Time | None = None

    def __post_init__(self) -> None:
        keys = [variation.key for variation in self.variations]
        if len(keys) < 2:
            raise ValueError("variations: a flag needs at least two, the first is on and the last is off")
        if len(set(keys)) != len(keys):
            raise ValueError("variations: two have the same key; give each its own")
        types = {json_type(variation.value): variation.key for variation in self.variations}
        if len(types) > 1:
            found = " and ".join(f"{name} ({key!r})" for name, key in types.items())
            raise ValueError(f"variations: the values are of different JSON types, {found}; clients read a flag as one type")
        if len({rule.id for rule in self.rules}) != len(self.rules):
            raise ValueError("rules: two have the same id; leave `id` out of a new rule")
        for place, rule in enumerate(self.rules):
            check(rule.rule, f"rules[{place}]")
            if rule.variation and rule.variation not in keys:
                raise ValueError(f"rules[{place}].variation: {rule.variation!r} is not a variation of this flag")
        if self.default_rule.variation and self.default_rule.variation not in keys:
            raise ValueError(f"default_rule.variation: {self.default_rule.variation!r} is not a variation of this flag")

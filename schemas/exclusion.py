"""Experiments that must not share units, and units that take part in none."""

import msgspec

from schemas.fields import Name, Percent, TenantId


class Slot(msgspec.Struct, frozen=True):
    """The share of a group's units that one experiment may use."""

    experiment: Name
    share: Percent


class ExclusionGroup(msgspec.Struct, frozen=True):
    """A group of experiments that are mutually exclusive: a unit falls into at most one of their slots, by a hash over the group's
    seed. What the slots leave over takes part in none, and so do the units of the holdout, which lie first."""

    tenant: TenantId
    id: Name
    name: str = ""
    holdout: Percent = 0.0
    """Share of the units kept out of every experiment of the group."""
    slots: tuple[Slot, ...] = ()
    """In order; a new slot is appended, so that no unit moves between experiments."""
    seed: str = ""
    """What units are hashed with; empty means the id."""

    def __post_init__(self) -> None:
        names = [slot.experiment for slot in self.slots]
        if len(set(names)) != len(names):
            raise ValueError("slots: an experiment stands twice; remove one")
        if self.holdout + sum(slot.share for slot in self.slots) > 100 + 1e-9:
            raise ValueError("slots: holdout and shares together are more than 100")

"""Groups of mutually exclusive experiments: listed, created, changed, and the slots their experiments get."""

from collections.abc import Collection
from typing import Any

import msgspec

from infra.runtime.errors import Conflict
from query_api.control.audit import Actor, audited
from query_api.control.store import Draft
from query_api.domain.change import built, existing, missing
from query_api.domain.stored import Stored, StoredDefinitions, new_id
from schemas.definition_kinds import encode_definition
from schemas.exclusion import ExclusionGroup, Slot

_ROUNDING = 1e-9


async def list_groups(stored: StoredDefinitions, tenant: str) -> list[Stored[ExclusionGroup]]:
    """The groups of a tenant, by name."""
    return sorted(await stored.every(ExclusionGroup, tenant), key=lambda each: (each.definition.name.casefold(), each.definition.id))


async def get_group(stored: StoredDefinitions, tenant: str, name: str) -> Stored[ExclusionGroup]:
    """One group by its id. Raises `NotFound`."""
    found = await stored.get(ExclusionGroup, tenant, name)
    if found is None:
        raise missing("exclusion group", name)
    return found


async def create_group(stored: StoredDefinitions, tenant: str, actor: Actor, fields: dict[str, Any]) -> Stored[ExclusionGroup]:
    """Stores a new group without slots."""
    group = built(ExclusionGroup, {**fields, "tenant": tenant, "id": new_id("grp")})
    versions = await stored.write(
        [Draft("exclusion_group", tenant, group.id, encode_definition(group), 0)], [audited(actor, "exclusion_group.created", None, group)]
    )
    return Stored(group, versions[0], stored.now())


async def update_group(stored: StoredDefinitions, tenant: str, actor: Actor, name: str, fields: dict[str, Any], expected: int | None) -> Stored[ExclusionGroup]:
    """Changes name and holdout. Raises `NotFound`, and `Conflict` when the group is not at `expected` or when a new holdout would move the units of its slots."""
    found = await existing(stored, ExclusionGroup, tenant, name)
    before = found.definition
    after = built(ExclusionGroup, msgspec.structs.asdict(before) | fields)
    if before.slots and after.holdout != before.holdout:
        raise Conflict(
            "holdout: experiments have slots in this group, and another holdout would move their units; create another group",
            details={"fields": ["holdout"], "experiments": [slot.experiment for slot in before.slots]},
        )
    draft = Draft("exclusion_group", tenant, name, encode_definition(after), found.version if expected is None else expected)
    versions = await stored.write([draft], [] if after == before else [audited(actor, "exclusion_group.updated", before, after)])
    return Stored(after, versions[0], stored.now())


def with_slot(group: ExclusionGroup, experiment: str, share: float, finished: Collection[str]) -> ExclusionGroup:
    """The group with a slot for one more experiment: behind the others, or, when too little is left there, in the place of one that is finished.

    No unit of another experiment moves. Raises `Conflict` when the share is free nowhere."""
    left = 100 - group.holdout - sum(slot.share for slot in group.slots)
    if share <= left + _ROUNDING:
        return msgspec.structs.replace(group, slots=(*group.slots, Slot(experiment, min(share, left))))
    for place, slot in enumerate(group.slots):
        if slot.experiment in finished and share <= slot.share + _ROUNDING:
            rest = slot.share - share
            taken = (Slot(experiment, share), *((Slot(slot.experiment, rest),) if rest > _ROUNDING else ()))
            return msgspec.structs.replace(group, slots=(*group.slots[:place], *taken, *group.slots[place + 1 :]))
    raise Conflict(
        f"group_share: the group {group.id!r} has {max(left, 0):g} % left and no finished experiment with {share:g} %; ask for less or use another group",
        details={"left": max(left, 0.0)},
    )

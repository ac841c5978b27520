"""Changing one stored definition: read, alter, write with the audit line, and again when somebody else was faster."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from infra.runtime.errors import Conflict, NotFound, ValidationFailed
from query_api.control.audit import Actor, audited
from query_api.control.store import Draft
from query_api.domain.stored import D, Stored, StoredDefinitions
from schemas.definition_kinds import encode_definition, kind_of

T = TypeVar("T")

_ATTEMPTS = 5


async def existing(stored: StoredDefinitions, cls: type[D], tenant: str, name: str) -> Stored[D]:
    """One definition for somebody who will change it. Raises `NotFound`."""
    found = await stored.get_stored(cls, tenant, name)
    if found is None:
        raise missing(cls.__name__, name)
    return found


async def change(stored: StoredDefinitions, cls: type[D], tenant: str, name: str, actor: Actor, action: str, alter: Callable[[D], D]) -> D:
    """Stores what `alter` makes of the definition and returns it. Nothing is written or logged when that is the same.

    `alter` may be called several times. Raises `NotFound`, and `Conflict` when others keep changing it."""
    for _ in range(_ATTEMPTS):
        found = await existing(stored, cls, tenant, name)
        after = alter(found.definition)
        if after == found.definition:
            return after
        draft = Draft(kind_of(after), tenant, name, encode_definition(after), found.version)
        try:
            await stored.write([draft], [audited(actor, action, found.definition, after)])
        except Conflict:
            continue
        return after
    raise Conflict(f"{name!r} is being changed by others at the same time; try again")


def missing(what: str, name: str) -> NotFound:
    """There is no such thing for this tenant."""
    return NotFound(f"there is no {what.lower()} {name!r}")


def built(cls: type[T], values: dict[str, Any]) -> T:
    """The struct with these plain values. Raises `ValidationFailed` with the field at fault in `details["fields"]`."""
    try:
        return msgspec.convert(values, type=cls)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error)) from error


def wrong_field(problem: str) -> ValidationFailed:
    """The error for a problem written as `path: what is wrong`."""
    path, _, message = problem.partition(": ")
    return ValidationFailed(problem, details={"fields": [{"field": path if message else "", "message": message or problem}]})

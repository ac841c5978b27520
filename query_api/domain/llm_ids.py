"""GlobalIDs in requests about datasets and experiments."""

from typing import Final

from infra.runtime.errors import NotFound, ValidationFailed
from schemas.global_id import IdType, global_id, number_of, parse

_LARGEST: Final = 2**63 - 1
_SHOWN: Final = 100


def number_in(text: str, kind: IdType) -> int:
    """The number that an id names. Raises ValidationFailed for a text that is no id, and NotFound for the id of something else."""
    found = parse(text)
    if found is None:
        raise ValidationFailed(f"Invalid {kind} ID: {text[:_SHOWN]}")
    if found.type != kind or found.number > _LARGEST:
        raise NotFound(f"{kind} with ID {text[:_SHOWN]} does not exist: the ID names a {found.type}")
    return found.number


def unknown(kind: IdType, number: int) -> NotFound:
    """The error for an id that names nothing of this tenant."""
    return NotFound(f"{kind} with ID {global_id(kind, number)} does not exist")


def first_in(cursor: str | None, kind: IdType) -> int | None:
    """The number at which a page begins. Raises ValidationFailed for a cursor that no list of these things returned."""
    if not cursor:
        return None
    number = number_of(cursor, kind)
    if number is None or number > _LARGEST:
        raise ValidationFailed(f"Invalid cursor format: {cursor[:_SHOWN]}")
    return number

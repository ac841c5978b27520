"""GlobalIDs of rows of the control store, in requests."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.surfaces.policy import Page
from schemas.global_id import IdType, global_id, parse

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


def row_number(text: str, *kinds: IdType) -> int | None:
    """The number that an id of one of these types names; None for anything else, such as a name or a number that no row can have."""
    found = parse(text)
    return found.number if found is not None and found.type in kinds and found.number <= _LARGEST else None


class Numbered(Protocol):
    """What has a row of its own."""

    @property
    def number(self) -> int: ...


Item = TypeVar("Item", bound=Numbered)


def page_of(found: Sequence[Item], limit: int, kind: Callable[[Item], IdType] | IdType, shown: Callable[[Item], Any]) -> Page:
    """The page of what was found with a limit that is one too high; its cursor is the id of the first item of the next page."""
    if len(found) <= limit:
        return Page([shown(each) for each in found])
    following = found[limit]
    return Page([shown(each) for each in found[:limit]], global_id(kind(following) if callable(kind) else kind, following.number))


def unknown(kind: IdType, number: int) -> NotFound:
    """The error for an id that names nothing of this tenant."""
    return NotFound(f"{kind} with ID {global_id(kind, number)} does not exist")


def first_in(cursor: str | None, *kinds: IdType) -> int | None:
    """The number at which a page begins. Raises ValidationFailed for a cursor that no list of these things returned."""
    if not cursor:
        return None
    number = row_number(cursor, *kinds)
    if number is None:
        raise ValidationFailed(f"Invalid cursor format: {cursor[:_SHOWN]}")
    return number

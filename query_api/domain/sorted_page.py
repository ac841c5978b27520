"""Pages of a sorted list, by number or from behind a row: what a request asks for, and what the answer says of the page behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from infra.runtime.errors import ValidationFailed
from query_api.control.sorted_list import After, Part, Sort
from query_api.domain.cursor import decode_cursor, encode_cursor

Item = TypeVar("Item")
LARGEST = 2**63 - 1
_Whole = Annotated[int, Meta(ge=0, le=LARGEST)]


@dataclass(frozen=True)
class Wanted:
    """A page of a list: the one with this number, or the one that a cursor begins."""

    page: int
    per_page: int
    cursor: str | None = None

    def part(self, sort: Sort, *, of_text: bool) -> Part:
        """The rows of the page and one more, which tells whether another page follows. `of_text` says whether the list is sorted by texts.

        Raises ValidationFailed for a cursor of another list or order.
        """
        if self.cursor is None:
            return Part(sort, self.per_page + 1, (self.page - 1) * self.per_page)
        name, value, number = decode_cursor(self.cursor, tuple[str, str | _Whole, _Whole])
        if name != _name(sort) or isinstance(value, str) != of_text:
            raise ValidationFailed(
                "the cursor belongs to a list in another order; keep `sort` as it was, or start again without the cursor",
                details={"cursor": ["belongs to another order"]},
            )
        return Part(sort, self.per_page + 1, after=After(value, number))


@dataclass(frozen=True)
class Listed:
    """A page that was found."""

    items: Sequence[Any]
    total: int
    """On all pages together."""
    wanted: Wanted
    next_cursor: str | None = None


def listed(found: Sequence[Item], total: int, wanted: Wanted, sort: Sort, shown: Callable[[Item], Any]) -> Listed:
    """The page, of rows that were found by `Wanted.part`; they have `number` and what they are sorted by."""
    items = found[: wanted.per_page]
    last: Any = items[-1] if len(found) > wanted.per_page else None
    cursor = None if last is None else encode_cursor((_name(sort), getattr(last, sort.column), last.number))
    return Listed([shown(item) for item in items], total, wanted, cursor)


def _name(sort: Sort) -> str:
    return f"-{sort.column}" if sort.descending else sort.column

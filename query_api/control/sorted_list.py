"""Lists that may be sorted by one of several columns, asked for by page or from behind a row."""

from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

Columns = TypeVar("Columns", bound=tuple[Any, ...])


class Sort(NamedTuple):
    """By which column; rows that are equal there stand in the order in which they were made, in the same direction."""

    column: str
    descending: bool


class After(NamedTuple):
    """The row that a part of a list begins behind."""

    value: str | int
    """Of the column that the list is sorted by."""
    number: int


class Part(NamedTuple):
    """Which rows of a sorted list."""

    sort: Sort
    limit: int
    offset: int = 0
    after: After | None = None


def part_of(query: Select[Columns], row: Any, part: Part) -> Select[Columns]:
    """The query for that part of its rows. `row` is a table with a column `number`, and no sorted column of it is ever empty."""
    column, number = getattr(row, part.sort.column), row.number
    if part.after is not None:
        value = part.after.value
        behind = (column < value, number < part.after.number) if part.sort.descending else (column > value, number > part.after.number)
        query = query.where(or_(behind[0], and_(column == value, behind[1])))
    order = (column.desc(), number.desc()) if part.sort.descending else (column, number)
    return query.order_by(*order).offset(part.offset).limit(part.limit)


async def count_of(connection: AsyncConnection, query: Select[Any]) -> int:
    """How many rows a query has."""
    return int((await connection.execute(select(func.count()).select_from(query.subquery()))).scalar_one())

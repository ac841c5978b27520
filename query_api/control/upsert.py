"""INSERT ... ON CONFLICT, which SQLite and PostgreSQL have alike and SQLAlchemy spells per database."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from query_api.control.models import Base


def inserting(connection: AsyncConnection, row: type[Base]) -> Any:
    """An INSERT that has `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return postgresql.insert(row) if connection.dialect.name == "postgresql" else sqlite.insert(row)

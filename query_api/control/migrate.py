"""Moves the tables of the control store from version to version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from query_api.control.engine import writing

_LOCK = 0x6D696C6C73747265
"""Number of the PostgreSQL advisory lock that makes migrations wait for each other."""


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Up to `revision`, in one transaction; nothing happens when already there. Safe from several processes."""
    async with writing(engine) as connection:
        await connection.run_sync(_run, "upgrade", revision)


async def downgrade(engine: AsyncEngine, revision: str) -> None:
    """Down to `revision` (`base` removes everything, data included), in one transaction."""
    async with writing(engine) as connection:
        await connection.run_sync(_run, "downgrade", revision)


def _run(connection: Connection, direction: str, revision: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    (command.upgrade if direction == "upgrade" else command.downgrade)(config, revision)

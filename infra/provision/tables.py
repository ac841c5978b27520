"""Tables as declared, compared with the live ones and created or extended."""

from dataclasses import dataclass

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import ClickHouseSettings
from schemas.tables.catalog import TABLES
from schemas.tables.table import Table


@dataclass(frozen=True)
class TableDifference:
    """One table that is not as declared."""

    table: Table
    what: str
    """In words."""
    statements: tuple[str, ...]
    """What would mend it; empty when only a person can."""

    def __str__(self) -> str:
        return f"{self.what}{'' if self.statements else ' (change it by hand or start with an empty database)'}"


async def differences(clickhouse: ClickHouse, settings: ClickHouseSettings) -> list[TableDifference]:
    """Missing tables, missing columns and columns of another type. Raises ClickHouseError."""
    rows = await clickhouse.query("SELECT table, name, type FROM system.columns WHERE database = {database:String}", {"database": settings.database})
    live: dict[str, dict[str, str]] = {}
    for row in rows:
        live.setdefault(row["table"], {})[row["name"]] = row["type"]
    return [difference for table in TABLES for difference in _compare(table, live.get(table.name), settings)]


def _compare(table: Table, live: dict[str, str] | None, settings: ClickHouseSettings) -> list[TableDifference]:
    if live is None:
        return [TableDifference(table, f"create table {table.name}", tuple(table.create(settings.dedup_window, settings.retention_days)))]
    found = []
    for column in table.all_columns:
        if column.name not in live:
            statement = f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {column.name} {column.type} {column.expression}"
            found.append(TableDifference(table, f"add column {table.name}.{column.name} {column.type}", (statement,)))
        elif live[column.name] != column.type:
            found.append(TableDifference(table, f"column {table.name}.{column.name} is {live[column.name]}, declared {column.type}", ()))
    return found


async def apply(clickhouse: ClickHouse, wanted: list[TableDifference]) -> None:
    """Carry the statements out; repeating is safe. Raises ClickHouseError."""
    for difference in wanted:
        for statement in difference.statements:
            await clickhouse.command(statement)


async def create_database(clickhouse_without_database: ClickHouse, settings: ClickHouseSettings) -> None:
    """Create the database; repeating is safe. The name comes from the settings, not from input."""
    await clickhouse_without_database.command(f"CREATE DATABASE IF NOT EXISTS `{settings.database}`")

"""Tables as declared, compared with the live ones and created or extended."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import ClickHouseSettings
from schemas.tables.catalog import TABLES
from schemas.tables.table import Column, Table, tuning

_SETTING = re.compile(r"(\w+) = (\w+)")


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
    """Missing tables and columns, columns of another type, another order of the rows, other indices by name, other settings. Raises ClickHouseError."""
    of_database = {"database": settings.database}
    keys = await clickhouse.query("SELECT name, sorting_key, engine_full FROM system.tables WHERE database = {database:String}", of_database)
    live = {str(row["name"]): _Live({}, str(row["sorting_key"]), set(), _settings(row["engine_full"])) for row in keys}
    for row in await clickhouse.query("SELECT table, name, type FROM system.columns WHERE database = {database:String}", of_database):
        live[row["table"]].columns[row["name"]] = row["type"]
    for row in await clickhouse.query("SELECT table, name FROM system.data_skipping_indices WHERE database = {database:String}", of_database):
        live[row["table"]].indices.add(row["name"])
    return [difference for table in TABLES for difference in _compare(table, live.get(table.name), settings)]


@dataclass(frozen=True)
class _Live:
    """A table as the server has it."""

    columns: dict[str, str]
    """Types by name."""
    key: str
    indices: set[str]
    """Names."""
    settings: Mapping[str, str]


def _settings(engine: str) -> dict[str, str]:
    return dict(_SETTING.findall(engine.partition("SETTINGS ")[2]))


def _compare(table: Table, live: _Live | None, settings: ClickHouseSettings) -> list[TableDifference]:
    if live is None:
        return [TableDifference(table, f"create table {table.name}", tuple(table.create(settings.dedup_window, settings.retention_days)))]
    found = []
    missing = [column for column in table.all_columns if column.name not in live.columns]
    key = table.order_by.removeprefix("(").removesuffix(")")
    added = [column for column in missing if column.name in key.split(", ")]
    if added and key == ", ".join((live.key, *(column.name for column in added))):
        # The engine extends a sorting key only by columns that the same statement adds: whatever is stored is sorted by them already.
        missing = [column for column in missing if column not in added]
        names = ", ".join(column.name for column in added)
        statement = f"ALTER TABLE {table.name} {', '.join(map(_add, added))}, MODIFY ORDER BY {table.order_by}"
        found.append(TableDifference(table, f"add to {table.name} and its order: {names}", (statement,)))
    elif key != live.key:
        found.append(TableDifference(table, f"table {table.name} is ordered by ({live.key}), declared {table.order_by}", ()))
    found += [
        TableDifference(table, f"add column {table.name}.{column.name} {column.type}", (f"ALTER TABLE {table.name} {_add(column)}",)) for column in missing
    ]
    for column in table.all_columns:
        if live.columns.get(column.name, column.type) != column.type:
            found.append(TableDifference(table, f"column {table.name}.{column.name} is {live.columns[column.name]}, declared {column.type}", ()))
    declared = {index.split(maxsplit=1)[0]: index for index in table.indices}
    # Rows stored before an index was added are read without it until a merge writes them anew.
    found += [
        TableDifference(table, f"add index {table.name}.{name}", (f"ALTER TABLE {table.name} ADD INDEX IF NOT EXISTS {index}",))
        for name, index in declared.items()
        if name not in live.indices
    ]
    found += [
        TableDifference(table, f"drop index {table.name}.{name}", (f"ALTER TABLE {table.name} DROP INDEX IF EXISTS {name}",))
        for name in sorted(live.indices - declared.keys())
    ]
    other = {name: value for name, value in tuning(settings.dedup_window).items() if live.settings.get(name) != str(value)}
    if other:
        values = ", ".join(f"{name} = {value}" for name, value in other.items())
        found.append(TableDifference(table, f"set of {table.name}: {values}", (f"ALTER TABLE {table.name} MODIFY SETTING {values}",)))
    return found


def _add(column: Column) -> str:
    return f"ADD COLUMN IF NOT EXISTS {column.name} {column.type} {column.expression}".rstrip()


async def apply(clickhouse: ClickHouse, wanted: list[TableDifference]) -> None:
    """Carry the statements out; repeating is safe. Raises ClickHouseError."""
    for difference in wanted:
        for statement in difference.statements:
            await clickhouse.command(statement)


async def create_database(clickhouse_without_database: ClickHouse, settings: ClickHouseSettings) -> None:
    """Create the database; repeating is safe. The name comes from the settings, not from input."""
    await clickhouse_without_database.command(f"CREATE DATABASE IF NOT EXISTS `{settings.database}`")

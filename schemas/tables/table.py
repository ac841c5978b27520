"""What a table declaration is; the tables themselves have a file each beside this one."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: str
    """ClickHouse type, as `system.columns` prints it."""
    meaning: str
    """One sentence for the reference."""
    expression: str = ""
    """Optional `DEFAULT ...`, `MATERIALIZED ...` or `CODEC(...)` clause."""


_MERGE_WIDTH = 12
"""Parts that one merge joins, roughly. Rows are merged fewer times than with the default of 5, which saves a quarter of an insert's cost. The engine
may not take the small ones out of what it has chosen: a small table would be written anew for every block that comes, instead of for every twelfth."""

_WIDE_PART_BYTES = 32 * 2**20
"""Size before compression from which a part has files of its own for each column: merged ones, not those of one block. Such a part of spans has
over a hundred files, and making them cost as much as writing what is in them."""

ORIGIN = (
    Column("part", "UInt16", "Partition of the raw topic the row came from."),
    Column("offset", "UInt64", "Offset of its block; with `part` it ties every row to the ledger.", "CODEC(Delta, LZ4)"),
)
"""Columns that every table with a feed has beside its own; the sink fills them."""


def tuning(dedup_window: int) -> dict[str, int]:
    """Settings of every table that may change while it is there."""
    return {
        "merge_selector_base": _MERGE_WIDTH,
        "merge_selector_enable_heuristic_to_remove_small_parts_at_right": 0,
        "min_bytes_for_wide_part": _WIDE_PART_BYTES,
        "non_replicated_deduplication_window": dedup_window,
    }


@dataclass(frozen=True)
class Feed:
    """How the sink turns a block of a raw topic into rows: one INSERT per block, the bytes unchanged."""

    format: str
    """ClickHouse input format of the block's bytes."""
    structure: str
    """Structure of the block as the engine reads it."""
    select: str
    """The SELECT list and anything after `FROM input(...)` is `tail`; columns come in the order of `columns`."""
    columns: tuple[str, ...]
    """Columns of the table the SELECT fills."""
    tail: str = ""
    """Clauses after FROM: ARRAY JOIN, WHERE."""
    settings: dict[str, str] = field(default_factory=dict)
    """Input settings of the format, such as the protobuf schema."""

    def insert(self, table: str, part: int = 0, offset: int = 0) -> str:
        """The one INSERT statement for a block from the given place; the body follows as request data."""
        structure = self.structure.replace("\\", "\\\\").replace("'", "\\'")
        columns = ", ".join((*self.columns, *(column.name for column in ORIGIN)))
        origin = f"toUInt16({int(part)}) AS part, toUInt64({int(offset)}) AS offset"
        return f"INSERT INTO {table} ({columns}) SELECT {self.select}, {origin} FROM input('{structure}') {self.tail} FORMAT {self.format}"


@dataclass(frozen=True)
class Table:
    """One ClickHouse table, or a materialized view's target together with its view."""

    name: str
    meaning: str
    """One sentence for the reference."""
    columns: tuple[Column, ...]
    engine: str
    order_by: str
    writer: str
    """The one agent or service that writes it."""
    partition_by: str = ""
    ttl: str = ""
    indices: tuple[str, ...] = ()
    """Skip index clauses, without the leading INDEX."""
    granularity: int = 8192
    feed: Feed | None = None
    """Set on the tables of raw topics."""
    view_source: str = ""
    """Table a materialized view reads to fill this one; empty for tables written directly."""
    view_select: str = ""
    """The view's SELECT."""

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The table's own columns and, on a table with a feed, those of the origin."""
        return (*self.columns, *ORIGIN) if self.feed else self.columns

    def create(self, dedup_window: int, retention_days: int) -> list[str]:
        """The statements that create the table, and its view when it has one; each is safe to repeat."""
        lines = [f"    {c.name} {c.type} {c.expression}".rstrip() for c in self.all_columns]
        lines += [f"    INDEX {index}" for index in self.indices]
        body = ",\n".join(lines)
        parts = [f"CREATE TABLE IF NOT EXISTS {self.name} (\n{body}\n) ENGINE = {self.engine}"]
        if self.partition_by:
            parts.append(f"PARTITION BY {self.partition_by}")
        parts.append(f"ORDER BY {self.order_by}")
        if self.ttl:
            parts.append(f"TTL {self.ttl.format(days=retention_days)}")
        settings = {"index_granularity": self.granularity, **tuning(dedup_window)}
        parts.append("SETTINGS " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
        statements = ["\n".join(parts)]
        if self.view_select:
            statements.append(f"CREATE MATERIALIZED VIEW IF NOT EXISTS {self.name}_view TO {self.name} AS {self.view_select}")
        return statements

"""Small inserts of rows the agents make themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.query_priority import URGENT

_SETTINGS = {"async_insert": "0", "insert_deduplicate": "1", "deduplicate_blocks_in_dependent_materialized_views": "1", "date_time_input_format": "best_effort"}


async def insert_rows(clickhouse: ClickHouse, table: str, rows: Sequence[Mapping[str, Any]], token: str, *, urgent: bool = False) -> None:
    """Insert rows in one INSERT; a token that was used before is dropped. Raises ClickHouseError; repeating with the same rows is safe."""
    body = b"\n".join(msgspec.json.encode(row) for row in rows)
    settings = {**_SETTINGS, "insert_deduplication_token": token, **(URGENT if urgent else {})}
    await clickhouse.insert_bytes(f"INSERT INTO {table} FORMAT JSONEachRow", body, settings=settings)

"""Saying how far windows are, beside the refreshes: nobody's live update waits for it."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import StreamSettings
from streams.retrying import until_done
from streams.rows import insert_rows
from streams.write_behind import WriteBehind

Row = Mapping[str, Any]
"""A row of the watermarks table, as `WindowWriter.progress` makes it."""


class Watermarks:
    """Writes the watermarks of cumulative windows, in the order they were said."""

    def __init__(self, clickhouse: ClickHouse, settings: StreamSettings) -> None:
        self._clickhouse = clickhouse
        self._settings = settings
        self._behind = WriteBehind(self._write_all)

    def say(self, rows: Sequence[Row], release: Callable[[], object]) -> None:
        """Write the rows as soon as the write before is done, together with what came meanwhile, and then call `release`.

        Returns at once. Goes on trying while ClickHouse is away.
        """
        self._behind.add(rows, release)

    def forget(self) -> None:
        """Partitions moved: what is not under way yet is left to whoever owns the subjects now."""
        self._behind.forget()

    async def drain(self) -> None:
        """Wait until everything said so far is written."""
        await self._behind.drain()

    async def _write_all(self, said: Sequence[Sequence[Row]]) -> None:
        # Of each subject the newest says everything.
        rows = {(row["kind"], row["tenant"], row["subject"]): row for several in said for row in several}
        await until_done(functools.partial(self._write, list(rows.values())), self._settings, "watermarks not written yet", subjects=len(rows))

    async def _write(self, rows: Sequence[Row]) -> None:
        first = rows[0]
        await insert_rows(self._clickhouse, "watermarks", rows, token=f"{first['kind']}/{first['tenant']}/{first['subject']}/{first['at']}/{len(rows)}")

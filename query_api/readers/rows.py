"""The one way the readers reach ClickHouse: fixed statements, and errors in the platform's own words."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from infra.runtime.clickhouse import ClickHouse, ClickHouseError, parameter
from infra.runtime.errors import QueryLimit, Unavailable
from infra.runtime.query_priority import URGENT
from infra.runtime.settings import ClickHouseSettings

_LONGEST = 131_000
"""Bytes of one parameter; ClickHouse takes 128 KiB (its setting `http_max_field_value_size`)."""
_GRACE_S = 2.0
"""How much later than the server the client gives up, so that the server's own reason arrives."""
_OF_TABLE = {"max_block_size": 1_024}
"""FINAL holds a block of every part that is not merged yet: of 40 parts with spans of 2 KB a gigabyte in blocks of the size that is usual, a fifth in these."""
_AS_WRITTEN = {"optimize_move_to_prewhere": 0}
"""To choose itself what to check first, the engine weighs every column in every part: 2 ms of a statement with 18 columns and 10 parts, 7 ms with 30."""


class Rows(Protocol):
    """Runs fixed statements; everything that varies goes in as a server-side parameter `{name:Type}`."""

    async def query(self, sql: str, params: Mapping[str, Any] = {}) -> Sequence[Mapping[str, Any]]:
        """The rows of a SELECT; one with PREWHERE is checked in the order it is written in. Raises Unavailable when ClickHouse cannot be reached and
        QueryLimit beyond the limits of the read-only user."""
        ...

    async def table(self, sql: str, params: Mapping[str, Any] = {}) -> pa.Table:
        """The same as an Arrow table, for answers of many rows."""
        ...


class ClickHouseRows:
    """Reads as the read-only user. Time, memory and row limits belong to that user, so a statement cannot lift them."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._timeout_s = settings.read_timeout_s + _GRACE_S
        self._of_page = {**URGENT, "max_threads": settings.read_threads}
        self._client = ClickHouse(settings.url, settings.reader_user, settings.reader_password.get_secret_value(), settings.database)

    async def query(self, sql: str, params: Mapping[str, Any] = {}) -> Sequence[Mapping[str, Any]]:
        _check_size(params)
        settings = {**self._of_page, **_AS_WRITTEN} if "PREWHERE" in sql else self._of_page
        with _explained():
            return await self._client.query(sql, params, settings=settings, timeout=self._timeout_s)

    async def table(self, sql: str, params: Mapping[str, Any] = {}) -> pa.Table:
        _check_size(params)
        with _explained():
            return await self._client.query_arrow(sql, params, settings=_OF_TABLE, timeout=self._timeout_s)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _check_size(params: Mapping[str, Any]) -> None:
    if any(len(parameter(value).encode()) > _LONGEST for value in params.values()):
        raise QueryLimit("the request names too much for one read; send fewer or shorter values")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        if error.limit:
            raise QueryLimit("the read needs more time, memory or rows than allowed; narrow the range or lower the limit") from error
        if error.retryable:
            raise Unavailable("ClickHouse cannot be reached; try again", retry_after_s=1) from error
        raise


def integer(value: Any) -> int:
    """A 64-bit integer of an answer, which ClickHouse may have quoted."""
    return int(value)

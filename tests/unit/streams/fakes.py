"""ClickHouse and Kafka that do what a test tells them, and remember what they were asked."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from infra.runtime.producer import Place

Failure = Exception | None


class ScriptedClickHouse:
    """Answers queries by a function; INSERTs succeed unless a failure waits for their table."""

    def __init__(self, steps: list[str] | None = None, answer: Callable[[str, Mapping[str, Any]], list[dict[str, Any]]] = lambda _sql, _params: []) -> None:
        self.steps = steps if steps is not None else []
        self.inserts: list[tuple[str, bytes, dict[str, Any]]] = []
        """Table, body and settings of every INSERT that was tried."""
        self.failures: dict[str, list[Failure]] = {}
        """By table, what the next INSERTs into it end with."""
        self.before_insert: Callable[[], Awaitable[None]] | None = None
        """Awaited before an INSERT is taken in."""
        self.queries: list[str] = []
        self._answer = answer

    async def query(self, sql: str, params: Mapping[str, Any] = {}, **_: Any) -> list[dict[str, Any]]:
        self.queries.append(sql)
        return self._answer(sql, params)

    async def insert_bytes(self, sql: str, body: bytes, settings: Mapping[str, Any] = {}, *, encoding: str = "", timeout: float | None = None) -> None:
        table = sql.split()[2]
        if self.before_insert is not None:
            await self.before_insert()
        self.inserts.append((table, body, dict(settings)))
        waiting = self.failures.get(table)
        if waiting and (failure := waiting.pop(0)) is not None:
            self.steps.append(f"{table} failed")
            raise failure
        self.steps.append(table)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of the JSON INSERTs into a table, tried or not."""
        return [msgspec.json.decode(line) for name, body, _ in self.inserts if name == table for line in body.split(b"\n")]


class ScriptedProducer:
    """Acknowledges every record unless a failure waits for its topic."""

    def __init__(self, steps: list[str] | None = None) -> None:
        self.steps = steps if steps is not None else []
        self.sent: list[tuple[str, bytes, bytes | None, dict[str, bytes]]] = []
        self.failures: dict[str, list[Failure]] = {}

    async def send(self, topic: str, value: bytes, *, key: bytes | None = None, headers: Sequence[tuple[str, bytes]] = ()) -> Place:
        waiting = self.failures.get(topic)
        if waiting and (failure := waiting.pop(0)) is not None:
            self.steps.append(f"{topic} failed")
            raise failure
        self.sent.append((topic, value, key, dict(headers)))
        self.steps.append(topic)
        return Place(topic, 0, len(self.sent) - 1)

"""A client of the crucible surface whose reads see what it sent."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.flow.stack import LiveStack

Event = Mapping[str, Any]


class CrucibleClient:
    """Asks at the documented port, or where `base_url` says."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self._positions: list[str] = []

    async def send(self, *events: Event) -> httpx.Response:
        """Telemetry that has to be acknowledged; every later read waits for it."""
        answer = await self.http.post("/telemetry/events", json={"events": list(events)})
        assert answer.status_code == 202, answer.text
        self._positions.append(answer.headers["x-millstream-position"])
        return answer

    async def read(self, path: str, **params: Any) -> httpx.Response:
        """A GET that waits for what was sent."""
        return await self.http.get(path, params=params, headers=self._waits)

    async def ask(self, path: str, body: Any) -> httpx.Response:
        """A POST that reads, and waits for what was sent."""
        return await self.http.post(path, json=body, headers=self._waits)

    @property
    def _waits(self) -> dict[str, str]:
        return {"X-Millstream-Wait-For": ",".join(self._positions), "X-Millstream-Wait-Timeout": "30"} if self._positions else {}

    async def data(self, path: str, **params: Any) -> Any:
        """`data` of a read that has to succeed."""
        answer = await self.read(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def experiment(self, name: str, **fields: Any) -> str:
        """Id of a new experiment."""
        answer = await self.http.post("/experiments", json={"experiment": {"name": name, **fields}})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["id"])


@asynccontextmanager
async def crucible_client(stack: LiveStack, base_url: str = "") -> AsyncIterator[CrucibleClient]:
    """A client with the key of the stack."""
    async with httpx.AsyncClient(base_url=base_url or f"{stack.url('crucible')}/api/v1", headers=stack.headers, timeout=60) as http:
        yield CrucibleClient(http)


def event(name: Sequence[str] | str, at: str, measurements: Event | None = None, **metadata: Any) -> dict[str, Any]:
    """A telemetry event with an id of its own."""
    return {"id": uuid.uuid4().hex, "event_name": name, "timestamp": at, "measurements": dict(measurements or {}), "metadata": metadata}

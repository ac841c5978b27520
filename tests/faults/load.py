"""A client that keeps posting events and gives up on none: what it was told is stored is what the tests hold the platform to."""

import asyncio
import datetime as dt
import itertools
from collections import Counter
from types import TracebackType
from typing import Any, Self

import httpx

from tests.flow.stack import LiveStack
from tests.support import eventually

ROWS = 40
"""Units of one batch."""
_PATH = "/experimentation/api/v1/events/batch"


class Load:
    """Posts batches of exposures and purchases of one experiment from several connections while it is entered.

    Even batches carry ids of the client's own and no key, so that a repeated one comes in two blocks. Odd batches carry an
    Idempotency-Key and no ids, so that a repeated one is the same block. Every batch is repeated until it is acknowledged.
    """

    def __init__(self, stack: LiveStack, experiment: str, *, connections: int = 3, pause_s: float = 0.03) -> None:
        self.experiment = experiment
        self.acknowledged: set[str] = set()
        """Event ids of every acknowledged batch."""
        self.batches = 0
        """Batches acknowledged."""
        self.answers: Counter[int] = Counter()
        """Answers by status; 0 for a connection that failed."""
        self.faults: list[str] = []
        """Answers no client should get."""
        self._stack = stack
        self._connections = connections
        self._pause_s = pause_s
        self._numbers = itertools.count()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._begun = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(hours=2)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._connections)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop when every batch that was begun is acknowledged."""
        self._stopping = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        async with asyncio.timeout(90):
            results = await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None:
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            assert not self.faults, self.faults[:3]

    async def more(self, batches: int, timeout: float = 60.0) -> None:
        """Wait until so many more batches are acknowledged."""
        target = self.batches + batches

        def reached() -> bool:
            return self.batches >= target

        await eventually(reached, timeout=timeout)

    async def _client(self) -> None:
        async with httpx.AsyncClient(base_url=self._stack.main_url, headers=self._stack.headers, timeout=10.0) as client:
            while not self._stopping:
                await self._post(client, next(self._numbers))
                await asyncio.sleep(self._pause_s)

    async def _post(self, client: httpx.AsyncClient, number: int) -> None:
        events, headers = self._batch(number)
        while True:
            try:
                answer = await client.post(_PATH, json={"events": events}, headers=headers)
            except httpx.TransportError:
                self.answers[0] += 1
                await asyncio.sleep(0.2)
                continue
            self.answers[answer.status_code] += 1
            if answer.status_code == 200:
                data = answer.json()["data"]
                if data["failed"] or len(data["event_ids"]) != len(events) or "x-millstream-position" not in answer.headers:
                    self.faults.append(answer.text[:300])
                self.acknowledged.update(data["event_ids"])
                self.batches += 1
                return
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                self.faults.append(f"{answer.status_code}: {answer.text[:300]}")
                return
            await asyncio.sleep(0.2)

    def _batch(self, number: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
        keyed = number % 2 == 0
        events: list[dict[str, Any]] = []
        for place in range(ROWS):
            unit, variant = f"u{number}-{place}", "ab"[place % 2]
            events.append(self._event(unit, "exposure", number, 0, variant=variant))
            # Purchases of the units of the batch before: they may overtake the exposure, but not in event time.
            if number > 1 and place % 3 == 0:
                events.append(self._event(f"u{number - 2}-{place}", "purchase", number, 30, metadata={"value": place}))
        if not keyed:
            return events, {"Idempotency-Key": f"{self.experiment}/{number}"}
        for index, event in enumerate(events):
            event["id"] = f"{self.experiment}/{number}/{index}"
        return events, {}

    def _event(self, unit: str, kind: str, number: int, late_s: int, **fields: Any) -> dict[str, Any]:
        time = self._begun + dt.timedelta(seconds=number + late_s)
        return {"user_id": unit, "event_type": kind, "experiment_id": self.experiment, "timestamp": time.isoformat(), **fields}

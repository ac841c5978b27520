"""The JSON doors: A/B events and crucible telemetry, each with its surface's envelope."""

import asyncio
import functools
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from infra.runtime import decoding
from infra.runtime.clock import Clock, uuid7
from infra.runtime.errors import MillstreamError, UnsupportedMediaType
from infra.runtime.settings import IngestSettings
from ingest import event_blocks, events, json_rows, telemetry
from ingest.exchange import DoorAnswer, DoorRequest
from ingest.experiment_check import ExperimentChecks
from ingest.group_commit import GroupCommit
from ingest.publish import Publisher
from schemas.windows import to_iso

JSON = "application/json"
_LARGE = 262_144
"""Bodies from here on are decoded beside the event loop."""

Count = Callable[[int], Awaitable[None]]
"""Counts so many events against the rate of their key. Raises RateLimited and TooLarge."""

_R = TypeVar("_R")
_encode = msgspec.json.Encoder().encode


def _answer(status: int, data: object, position: str) -> DoorAnswer:
    headers = {"X-Millstream-Position": position} if position else {}
    return DoorAnswer(status, _encode({"data": data}), JSON, headers)


class _Stored(msgspec.Struct):
    """An event as the answer to its POST shows it."""

    id: str
    user_id: str
    event_type: str
    experiment_id: str | None
    variant: str | None
    timestamp: str
    received_at: str


class JsonDoors:
    """Stores A/B events and telemetry; one lane of blocks for each."""

    def __init__(self, publisher: Publisher, settings: IngestSettings, clock: Clock, checks: ExperimentChecks) -> None:
        self._settings = settings
        self._checks = checks
        self._clock = clock
        self._process = uuid7(clock.now_us()).hex[:24]
        self._requests = itertools.count()
        self._events = GroupCommit(event_blocks.assembler(clock, settings), publisher, settings, clock)
        self._telemetry = GroupCommit(telemetry.assembler(clock), publisher, settings, clock)

    async def drain(self) -> None:
        """Wait until everything that came in has its answer."""
        await asyncio.gather(self._events.drain(), self._telemetry.drain())

    async def body(self, request: DoorRequest) -> bytes:
        """The inflated JSON body. Raises UnsupportedMediaType, TooLarge, InvalidArgument."""
        if request.headers.get("content-type") != JSON and request.media_type not in (JSON, "", "text/plain"):
            raise UnsupportedMediaType(f"Send application/json, not {request.media_type}.")
        raw = await request.raw_body(self._settings.max_body_bytes)
        encoding = request.headers.get("content-encoding", "")
        return decoding.inflate(raw, encoding, self._settings.max_body_bytes) if encoding else raw

    async def event(self, request: DoorRequest, tenant: str, body: bytes, batch_id: str | None) -> DoorAnswer:
        """POST /api/v1/events: one event, answered with what was stored."""
        received = self._received(request, tenant, batch_id)
        rows = events.decode_single(body, received, self._settings, self._checks.of(tenant))
        position = await self._events.submit(rows, batch_id)
        event = rows.events[0]
        came = to_iso(received.at_us)
        stored = _Stored(rows.ids[0], event.user_id, event.event_type, event.experiment_id, event.variant, event.timestamp or came, came)
        return _answer(200, stored, position)

    async def event_batch(self, request: DoorRequest, tenant: str, body: bytes, batch_id: str | None) -> DoorAnswer:
        """POST /api/v1/events/batch: the good events stored, the others named with their place and reason."""
        received = self._received(request, tenant, batch_id)
        rows = await self._decode(functools.partial(events.decode_batch, check=self._checks.of(tenant)), body, received)
        data: dict[str, object] = {"processed": rows.rows, "failed": len(rows.errors), "event_ids": rows.ids}
        if rows.errors:
            data["errors"] = rows.errors
        part = event_blocks.part_of(rows, self._settings) if rows.rows else None
        del rows  # its events need not wait in memory for the acknowledgement
        position = await self._events.submit(part, batch_id) if part else ""
        return _answer(200, data, position)

    async def store_events(self, rows: events.EventRows) -> str:
        """Store events that came through another door, together with those of this one; gives the position."""
        return await self._events.submit(event_blocks.part_of(rows, self._settings))

    async def telemetry_batch(self, request: DoorRequest, tenant: str, body: bytes, batch_id: str | None, count: Count | None = None) -> DoorAnswer:
        """POST /api/v1/telemetry/events: 202 with counts and the reasons of what was refused. `count` is told of the good events before they are stored."""
        received = self._received(request, tenant, batch_id)
        rows = await self._decode(telemetry.decode, body, received)
        if count:
            await count(rows.rows)
        position = await self._telemetry.submit(rows, batch_id) if rows.rows else ""
        data: dict[str, object] = {"accepted": rows.rows, "rejected": len(rows.errors)}
        if rows.errors:
            data["errors"] = rows.errors
        return _answer(202, data, position)

    def _received(self, request: DoorRequest, tenant: str, batch_id: str | None) -> json_rows.Received:
        now = self._clock.now_us()
        prefix = f"evt_{batch_id.replace('-', '')}_" if batch_id else f"evt_{self._process}-{next(self._requests):x}-"
        return json_rows.Received(tenant, now, prefix, json_rows.sdk_of(request.headers), request.headers.get("x-millstream-source", "http")[:64])

    async def _decode(self, decode: Callable[[bytes, json_rows.Received, IngestSettings], _R], body: bytes, received: json_rows.Received) -> _R:
        work = functools.partial(decode, body, received, self._settings)
        if len(body) < _LARGE:
            return work()
        return await asyncio.to_thread(work)


Handler = Callable[[DoorRequest, str, bytes, str | None], Awaitable[DoorAnswer]]


def error_answer(error: MillstreamError, code_case: Callable[[str], str]) -> DoorAnswer:
    """The error envelope `{"error": {code, message, details}}` of the JSON surfaces."""
    headers = {"Retry-After": str(max(1, error.retry_after_s or 1))} if error.kind.retryable else {}
    body = {"error": {"code": code_case(error.code), "message": error.message, "details": error.details}}
    return DoorAnswer(error.kind.http, _encode(body), JSON, headers)

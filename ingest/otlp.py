"""The OTLP lanes: requests of every OTLP door become blocks of the clients' own bytes."""

import asyncio
from collections.abc import Callable, Sequence

import lz4.frame

from infra.runtime.clock import Clock
from infra.runtime.settings import Settings
from ingest import annotation_rows, metrics
from ingest.flag_exposures import FlagExposures
from ingest.group_commit import GroupCommit, Pace
from ingest.otlp_read import SIGNALS, OtlpPart, Reading, Signal, parse, read
from ingest.publish import Publisher
from ingest.span_feedback import with_feedback
from schemas.blocks import Block, Touched
from schemas.otlp_wire import Window, envelope_head

PACE = Pace(s_per_block=0.05, s_per_row=2e-4, longest_s=0.5, enough_rows=16_000, enough_bytes=8_388_608, return_s=0.03)
"""An INSERT that flattens a block costs the engine some 45 ms, as much as four thousand rows, so at some thousand items a second blocks of half a second leave most of
a core to those who read. A client that sends few items, or that sends again as soon as it is answered, is kept less."""
LARGE = 524_288
"""Bodies from here on are read beside the event loop, so that small requests do not wait for them."""


def assembler(signal: Signal, settings: Settings, clock: Clock) -> Callable[[Sequence[OtlpPart], str], Block]:
    """How group commit makes a block of several requests: an envelope head before each request's bytes, compressed as a whole.

    Attributes repeat from item to item, so a fifth to a third of the bytes then crosses the broker, the sink and the engine's interface.
    """

    def assemble(parts: Sequence[OtlpPart], batch_id: str) -> Block:
        now = clock.now_us()
        window = _window(settings, now)
        pieces: list[bytes] = []
        minutes: dict[tuple[str, str], frozenset[int]] = {}
        for part in parts:
            pieces += (envelope_head(part.tenant, window, part.services, part.projects, len(part.body)), part.body)
            for service, touched in part.minutes.items():
                place = (part.tenant, service)
                minutes[place] = minutes[place] | touched if place in minutes else touched
        low = min((part.min_ns for part in parts if part.min_ns), default=now * 1_000)
        high = max((part.max_ns for part in parts), default=0) or now * 1_000
        touched_all = tuple(Touched(tenant, service, tuple(sorted(when)), None, True) for (tenant, service), when in sorted(minutes.items()))
        rows = sum(part.rows for part in parts)
        body: bytes = lz4.frame.compress(b"".join(pieces), block_size=lz4.frame.BLOCKSIZE_MAX4MB)
        return Block(signal.topic, batch_id, signal.schema_id, rows, body, low // 1_000, high // 1_000, now, touched_all, "lz4")

    return assemble


def _window(settings: Settings, now_us: int) -> Window:
    return Window.around(now_us, settings.ingest.max_past_s, settings.ingest.max_future_s)


class OtlpLanes:
    """One lane of blocks for each signal, shared by the HTTP, gRPC and Kafka doors."""

    def __init__(self, publisher: Publisher, settings: Settings, clock: Clock, exposures: FlagExposures) -> None:
        self._settings = settings
        self._clock = clock
        self._exposures = exposures
        self._lanes = {name: GroupCommit(assembler(signal, settings, clock), publisher, settings.ingest, clock, PACE) for name, signal in SIGNALS.items()}
        self._annotations = GroupCommit(annotation_rows.assembler(clock), publisher, settings.ingest, clock)

    async def drain(self) -> None:
        """Wait until everything that came in has its answer."""
        await asyncio.gather(self._annotations.drain(), *(lane.drain() for lane in self._lanes.values()))

    async def store(self, signal: Signal, body: bytes, tenant: str, *, project: str = "", batch_id: str | None = None) -> tuple[Reading, str]:
        """Store the good items of a protobuf request; gives the position, empty when there was nothing to store.

        Raises InvalidArgument and TooLarge for the request as a whole, Unavailable when Kafka did not acknowledge.
        """
        if len(body) < LARGE:
            reading = self._read(signal, body, tenant, project)
        else:
            reading = await asyncio.to_thread(self._read, signal, body, tenant, project)
        return reading, await self._submit(signal, reading, batch_id)

    async def store_message(self, signal: Signal, request: object, tenant: str, *, project: str = "", batch_id: str | None = None) -> tuple[Reading, str]:
        """`store` for a request that did not come as protobuf."""
        reading = self._check(signal, request, None, tenant, project)
        return reading, await self._submit(signal, reading, batch_id)

    def _read(self, signal: Signal, body: bytes, tenant: str, project: str) -> Reading:
        return self._check(signal, parse(signal, body, self._settings.ingest.max_rows), body, tenant, project)

    def _check(self, signal: Signal, request: object, body: bytes | None, tenant: str, project: str) -> Reading:
        now = self._clock.now_us()
        reading = read(signal, request, body, tenant, project, self._settings.default_project, _window(self._settings, now), self._settings.ingest.max_rows)
        return with_feedback(signal, request, self._exposures.added(signal, request, reading, tenant, now), tenant, now)

    async def _submit(self, signal: Signal, reading: Reading, batch_id: str | None) -> str:
        if reading.refused:
            metrics.ITEMS.labels(signal.topic.name, "invalid").inc(reading.refused)
        if reading.part is None:
            return ""
        stored = [self._lanes[signal.name].submit(reading.part, batch_id)]
        if reading.exposures:
            stored.append(self._exposures.store(reading.exposures))
        if reading.annotations:
            stored.append(self._annotations.submit(reading.annotations))
        position = ",".join(await asyncio.gather(*stored))
        if reading.quarantined:
            metrics.ITEMS.labels(signal.topic.name, "quarantined").inc(reading.quarantined)
        return position

"""Reads the updates topic from its end on, for ever, for the hub or somebody else."""

import asyncio
from typing import Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.runtime.clock import Clock
from infra.runtime.partitions import partitions_of
from query_api.readers.window_state import WindowState, from_update
from schemas.avro import decode_update
from schemas.topics import UPDATES

_log = structlog.get_logger()

POLL_MS = 1_000
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0
CHECK_S = 5.0
"""How often a quiet reader asks the broker whether it is really at the end."""
SLACK_US = 60_000_000
"""How far before the last sign of life a gap is taken to begin."""


class Receiver(Protocol):
    """Who updates are read for. Nothing in it waits."""

    updates: int
    """Updates received."""
    connected: bool
    """Set by the reader: whether the topic is being read now."""

    def publish(self, state: WindowState) -> None:
        """Takes an update, in the order of the topic."""
        ...

    def lost(self, since_us: int) -> None:
        """Whatever was computed since then may be missing."""
        ...


class Together:
    """Several receivers of one reader."""

    def __init__(self, *receivers: Receiver) -> None:
        self._receivers = receivers
        self.updates = 0
        self._connected = False

    @property
    def connected(self) -> bool:
        return self._connected

    @connected.setter
    def connected(self, connected: bool) -> None:
        self._connected = connected
        for receiver in self._receivers:
            receiver.connected = connected

    def publish(self, state: WindowState) -> None:
        self.updates += 1
        for receiver in self._receivers:
            receiver.publish(state)

    def lost(self, since_us: int) -> None:
        for receiver in self._receivers:
            receiver.lost(since_us)


class UpdatesReader:
    """One consumer without a group, so that every process sees every update. A consumer that fails is
    replaced; whatever it may have missed is to be read from the tables."""

    def __init__(self, bootstrap: str, receiver: Receiver, clock: Clock) -> None:
        self._bootstrap = bootstrap
        self._receiver = receiver
        self._clock = clock
        self._alive_us: int | None = None

    async def run(self) -> None:
        """Until cancelled. Waits for no broker at the start."""
        pause = RETRY_FIRST_S
        while True:
            before = self._receiver.updates
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001
                # Whatever broke the consumer, a new one and a look at the tables heal it.
                if self._receiver.connected or self._alive_us is None:
                    _log.warning("updates cannot be read at the moment", problem=f"{type(error).__name__}: {error}")
                self._alive_us = self._alive_us or self._clock.now_us()
            self._receiver.connected = False
            pause = RETRY_FIRST_S if self._receiver.updates > before else min(pause * 2, RETRY_MAX_S)
            await asyncio.sleep(pause)

    async def _read(self) -> None:
        partitions = await partitions_of(self._bootstrap, UPDATES.name)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="latest", client_id="millstream-live"
        )
        try:
            await consumer.start()
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
            # The end is fixed now, so that an update that comes before the first poll is not skipped.
            for partition in partitions:
                await consumer.position(partition)
            if self._alive_us is not None:
                self._receiver.lost(self._alive_us - SLACK_US)
            self._receiver.connected = True
            await self._follow(consumer, partitions)
        finally:
            await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        loop = asyncio.get_running_loop()
        checked, behind = loop.time(), False
        self._alive_us = self._clock.now_us()
        while True:
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            for records in batches.values():
                for record in records:
                    self._hand_on(record.value or b"")
            if batches:
                checked, behind = loop.time(), False
                self._alive_us = self._clock.now_us()
            elif loop.time() - checked >= CHECK_S:
                ends = await consumer.end_offsets(partitions)
                short = any([await consumer.position(partition) != ends[partition] for partition in partitions])
                if short and behind:
                    raise ConnectionError("updates are waiting but none arrive")
                checked, behind = loop.time(), short
                if not short:
                    self._alive_us = self._clock.now_us()

    def _hand_on(self, value: bytes) -> None:
        try:
            self._receiver.publish(from_update(decode_update(value)))
        except ValueError:
            _log.exception("update refused")

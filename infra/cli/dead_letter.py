"""Dead letters on their topic: read by place, and published again where they came from."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.runtime.partitions import partitions_of
from infra.runtime.producer import Place, Producer
from infra.runtime.settings import KafkaSettings
from schemas.topics import BY_NAME, DEAD_LETTERS, DOORS, RAW

ORIGIN: Final = ("ms-origin-topic", "ms-origin-partition", "ms-origin-offset", "ms-reason")
"""Headers that burying adds; a replay leaves them out."""
_READ_S: Final = 10.0


class LetterGone(Exception):
    """The topic holds no letter at that place, or none any more."""


@dataclass(frozen=True)
class Letter:
    """One record of the dead-letter topic."""

    partition: int
    offset: int
    raw_headers: tuple[tuple[str, bytes], ...]
    value: bytes
    """The original bytes."""

    @property
    def place(self) -> str:
        return f"{DEAD_LETTERS.name}:{self.partition}:{self.offset}"

    @property
    def headers(self) -> dict[str, str]:
        """Header values for people."""
        return {name: _readable(name, value) for name, value in self.raw_headers}

    @property
    def origin(self) -> str:
        """Topic it came from. Raises ValueError when the letter does not say, or names no topic that blocks come from."""
        name = self.headers.get("ms-origin-topic", "")
        if BY_NAME.get(name) not in (*RAW, *DOORS):
            raise ValueError(f"{self.place} does not say which topic it came from.")
        return name

    def about(self) -> dict[str, Any]:
        """Everything but the bytes."""
        headers = self.headers
        origin = ":".join(headers.get(name, "?") for name in ORIGIN[:3])
        rest = {name: value for name, value in headers.items() if name not in ORIGIN}
        return {"letter": self.place, "origin": origin, "reason": headers.get("ms-reason", ""), "bytes": len(self.value), "headers": rest}


class Letters:
    """A connection to the topic. Reads without a group, so reading changes nothing."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings.model_copy(update={"request_timeout_ms": 10_000})
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap.split(","), enable_auto_commit=False, auto_offset_reset="none", max_partition_fetch_bytes=1_048_576
        )
        self._producer: Producer | None = None

    async def __aenter__(self) -> "Letters":
        try:
            await self._consumer.start()
        except BaseException:
            await self._disconnect()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._disconnect()
        if self._producer is not None:
            await self._producer.stop()

    async def read(self, partition: int, offset: int) -> Letter:
        """The letter at a place. Raises LetterGone and KafkaError."""
        place = TopicPartition(DEAD_LETTERS.name, partition)
        if place not in await partitions_of(self._settings.bootstrap, DEAD_LETTERS.name):
            raise LetterGone(f"There is no partition {partition} of {DEAD_LETTERS.name}.")
        first, end = (await self._consumer.beginning_offsets([place]))[place], (await self._consumer.end_offsets([place]))[place]
        if not first <= offset < end:
            raise LetterGone(f"{DEAD_LETTERS.name}:{partition} holds letters {first} to {end - 1}; {offset} is not among them.")
        self._consumer.assign([place])
        self._consumer.seek(place, offset)
        try:
            record = await asyncio.wait_for(self._consumer.getone(place), _READ_S)
        except TimeoutError as error:
            raise LetterGone(f"{DEAD_LETTERS.name}:{partition}:{offset} did not come within {_READ_S:g} s.") from error
        return Letter(partition, record.offset, tuple(record.headers), record.value or b"")

    async def _disconnect(self) -> None:
        # A consumer that was never assigned anything ends its own task by raising CancelledError from stop.
        await asyncio.gather(self._consumer.stop(), return_exceptions=True)

    async def replay(self, letter: Letter) -> Place:
        """Publish the original bytes with the original headers where they came from. Raises ValueError, Unavailable and TooLarge."""
        origin = letter.origin
        if self._producer is None:
            self._producer = Producer(self._settings)
            await self._producer.start()
        headers = [(name, value) for name, value in letter.raw_headers if name not in ORIGIN]
        return await self._producer.send(origin, letter.value, headers=headers)


def parse_place(text: str) -> tuple[int, int]:
    """Partition and offset of `dead_letters:PARTITION:OFFSET`, `PARTITION:OFFSET` or `OFFSET`. Raises ValueError."""
    parts = text.removeprefix(f"{DEAD_LETTERS.name}:").split(":")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not a place such as {DEAD_LETTERS.name}:0:17.")
    return (0, int(parts[0])) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def _readable(name: str, value: bytes) -> str:
    if name == "ms-touched":
        try:
            return ", ".join("/".join(touched[:2]) for touched in msgspec.msgpack.decode(value))
        except (msgspec.DecodeError, TypeError):
            return value.hex()
    return value.decode("utf-8", errors="backslashreplace")

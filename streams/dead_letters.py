"""What cannot be stored goes to the dead-letter topic with its bytes; too much of it stops the worker."""

from collections import deque
from collections.abc import Iterable

from infra.runtime.producer import Producer
from infra.runtime.settings import StreamSettings
from schemas.topics import DEAD_LETTERS
from streams.fatal import TOO_MANY_DEAD, stop_worker

RECENT = 200
"""Blocks over which the share of dead letters is judged."""


class DeadLetters:
    """The dead letters of one topic."""

    def __init__(self, topic: str, producer: Producer, settings: StreamSettings, recent: Iterable[str] = ()) -> None:
        self._topic = topic
        self._producer = producer
        self._settings = settings
        self._recent: deque[bool] = deque((outcome == "dead" for outcome in recent), maxlen=RECENT)

    def stored(self) -> None:
        """Count a block that was stored."""
        self._recent.append(False)

    async def bury(self, partition: int, offset: int, headers: list[tuple[str, bytes]], value: bytes, reason: str) -> None:
        """Publish the record with its reason and origin. Safe to repeat.

        Stops the worker when more than the allowed share of recent blocks died: a bad deployment must not drain a topic.
        Raises Unavailable when the letter could not be written; the caller tries again.
        """
        self._recent.append(True)
        dead = sum(self._recent)
        if dead >= self._settings.dead_letter_min and dead > self._settings.dead_letter_ratio * len(self._recent):
            stop_worker(
                TOO_MANY_DEAD, "too many dead letters; fix the cause, then start again", topic=self._topic, dead=dead, of=len(self._recent), last=reason
            )
        origin = [("ms-origin-topic", self._topic), ("ms-origin-partition", str(partition)), ("ms-origin-offset", str(offset)), ("ms-reason", reason[:2_000])]
        await self._producer.send(DEAD_LETTERS.name, value, key=self._topic.encode(), headers=[*headers, *((k, v.encode()) for k, v in origin)])

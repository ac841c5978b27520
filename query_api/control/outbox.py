"""The outbox publisher: carries every change from the control store to the control topic, in order."""

import asyncio
import contextlib
import random

import structlog

from infra.runtime.clock import Clock, SystemClock
from query_api.control.leadership import Leadership
from query_api.control.store import ControlStore
from query_api.control.topic import ControlTopic

log = structlog.get_logger()

BATCH = 200
KEEP_PUBLISHED_US = 7 * 86_400 * 1_000_000
"""How long published rows stay for people to look at."""
RETRY_MAX_S = 10.0


class OutboxPublisher:
    """One long-running task. Several processes may run it on one store; one of them publishes at a time.

    At least once and in order: a change is marked published after the broker acknowledged it, so a crash in between
    repeats it, which readers skip by its version. A topic that never held a record gets everything anew.
    """

    def __init__(self, store: ControlStore, topic: ControlTopic, poll_s: float = 0.2, clock: Clock | None = None) -> None:
        self._store = store
        self._topic = topic
        self._poll_s = poll_s
        self._clock = clock or SystemClock()
        self._leadership = Leadership(store.engine)
        self._wake = asyncio.Event()
        self._open = False
        self._nothing_at: object = None
        """The store's commits when nothing waited."""
        self.published = 0
        """Changes published since the start."""
        self.problem: str | None = None
        """What keeps changes from being published at the moment; None when nothing does."""

    def wake(self) -> None:
        """Publishes now instead of at the next poll. Call from the thread of the loop."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Kafka or the store being away is waited out: 0.2 s, doubling, at most 10 s between attempts."""
        pause = self._poll_s
        try:
            while True:
                try:
                    more = await self.publish_once()
                except asyncio.CancelledError:
                    raise
                except Exception as error:  # noqa: BLE001
                    # Whatever went wrong, the changes are safe in the store and publishing them is the only way on.
                    pause = min(max(pause, 0.1) * 2, RETRY_MAX_S)
                    self._note(f"{type(error).__name__}: {error}", pause)
                    await self._disconnect()
                    await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                    continue
                pause = self._poll_s
                if not more:
                    await self._rest()
        finally:
            await self.close()

    async def close(self) -> None:
        """Disconnects and lets another process publish. `run` does so at its end."""
        await self._disconnect()
        await self._leadership.release()

    async def publish_once(self) -> bool:
        """One round: the oldest waiting changes; True when there may be more. Raises what went wrong."""
        if not await self._leadership.held():
            # Another process publishes; this one is ready to take over.
            self.problem = None
            await self._disconnect()
            return False
        if not self._open:
            await self._topic.open()
            self._open = True
            if await self._topic.empty():
                await self.republish_all()
            await self._store.forget_published(self._clock.now_us() - KEEP_PUBLISHED_US)
        self.problem = None
        commits = self._store.commits()
        if commits == self._nothing_at:
            return False
        waiting = await self._store.unpublished(BATCH)
        if not waiting:
            self._nothing_at = commits
            return False
        await self._topic.send([each.record for each in waiting])
        await self._store.mark_published(each.seq for each in waiting)
        self.published += len(waiting)
        log.info("definitions published", count=len(waiting), last=waiting[-1].record.key.decode())
        return len(waiting) == BATCH

    async def republish_all(self) -> int:
        """Queues everything in the store for the topic, and returns how much that is. A crash half-way loses nothing:
        what is not acknowledged stays queued."""
        count = await self._store.requeue_all()
        if count:
            log.info("control topic is empty, publishing every definition", count=count)
        return count

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), self._poll_s)
        self._wake.clear()

    async def _disconnect(self) -> None:
        if self._open:
            self._open = False
            await self._topic.close()

    def _note(self, problem: str, pause: float) -> None:
        if problem != self.problem:
            log.warning("definitions cannot be published yet", problem=problem, retry_s=round(pause, 1))
        self.problem = problem

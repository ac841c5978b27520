"""The dispatcher of webhooks: turns changes into messages and sends them until they are taken."""

import asyncio
import contextlib
import math
from collections.abc import Callable

import structlog

from infra.runtime.clock import Clock
from infra.runtime.errors import MillstreamError
from query_api.control.leadership import Leadership
from query_api.control.webhook_queue import Due, WebhookQueue
from query_api.control.webhook_sender import WebhookSender

_log = structlog.get_logger()

AT_ONCE = 256
"""Attempts under way together."""
AT_ONCE_EACH = 4
"""The same for one webhook, so that a receiver that hangs holds up no other."""
FORGET_EVERY_S = 3_600.0
DAY_US = 86_400 * 1_000_000


class WebhookDispatcher:
    """One long-running task. Several processes may run it on one store; one of them sends at a time.

    At least once: an attempt is noted after it ended, so a process that dies in between leaves the delivery due, and the
    next one sends it again under the same id.
    """

    def __init__(
        self,
        queue: WebhookQueue,
        sender: WebhookSender,
        leadership: Leadership,
        clock: Clock,
        *,
        poll_s: float,
        keep_days: int,
        commits: Callable[[], object],
    ) -> None:
        """`commits` gives something equal to what it gave before only when nothing was committed to the store in between."""
        self._queue = queue
        self._sender = sender
        self._leadership = leadership
        self._clock = clock
        self._poll_s = poll_s
        self._keep_us = keep_days * DAY_US
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()
        self._forgot: float | None = None
        self._commits = commits
        self._nothing_at: object = None
        """The store's commits when nothing was to be told or sent."""
        self._next_attempt_us: float = 0
        """And when that ends even though nothing is committed."""

    async def run(self) -> None:
        """Until cancelled. Raises what keeps it from working, to be run again; what was due stays due."""
        try:
            while True:
                more = await self.round()
                if not more:
                    await self._rest()
        finally:
            await self.close()

    async def round(self) -> bool:
        """One look at what changed and what is due; attempts go on in the background. True when there may be more changes."""
        if not await self._leadership.held():
            return False
        await self._forget_old()
        commits = self._commits()
        if commits == self._nothing_at and self._clock.now_us() < self._next_attempt_us:
            return False
        more = await self._queue.take_changes()
        room = AT_ONCE - len(self._under_way)
        if room > 0:
            for due in await self._queue.due(room, AT_ONCE_EACH, self._under_way.keys()):
                self._under_way[due.id] = asyncio.create_task(self._attempt(due))
        if not more and not self._under_way:
            next_attempt_us = await self._queue.next_attempt_us()
            self._next_attempt_us, self._nothing_at = math.inf if next_attempt_us is None else next_attempt_us, commits
        return more

    async def settled(self) -> None:
        """Returns when no attempt is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way.values()))

    async def close(self) -> None:
        """Ends the attempts under way, which stay due, and lets another process send."""
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await self._leadership.release()

    async def _attempt(self, due: Due) -> None:
        try:
            verdict = await self._sender.send(due.target, due.message, due.attempts)
            await self._queue.end(due, verdict.ended, verdict.disable)
            if verdict.ended.status != "delivered":
                _log.info("webhook not delivered", webhook=due.target.id, message=due.message.event, attempt=due.attempts + 1, problem=verdict.ended.error)
        except MillstreamError as error:
            _log.warning("webhook attempt not noted, it will be made again", webhook=due.target.id, message=due.message.event, problem=error.message)
        finally:
            del self._under_way[due.id]
            self._ended.set()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), self._poll_s)
        self._ended.clear()

    async def _forget_old(self) -> None:
        now = self._clock.monotonic()
        if self._forgot is None or now - self._forgot >= FORGET_EVERY_S:
            self._forgot = now
            await self._queue.forget(self._clock.now_us() - self._keep_us)

"""What several ingest processes know together: a Redis that may be away at any time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from infra.runtime.clock import Clock
from ingest import metrics

_log = structlog.get_logger()
PATIENCE_S = 0.25
"""The longest a request waits for Redis."""
PAUSE_S = 1.0
"""After a failure Redis is left alone for so long, so that requests do not wait for it one after the other."""

T = TypeVar("T")


class Shared:
    """A Redis whose absence costs knowledge and never a request. Connects at the first question."""

    def __init__(self, url: str, clock: Clock) -> None:
        """Raises ValueError when `url` is no address of a Redis."""
        # One more try at once: after a restart of Redis every pooled connection fails once.
        retry = Retry(NoBackoff(), 1, (RedisConnectionError,))
        self.pool = BlockingConnectionPool.from_url(
            url, max_connections=32, timeout=PATIENCE_S, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, retry=retry
        )
        self.redis: Redis = Redis(connection_pool=self.pool)
        self.url = url
        self._clock = clock
        self._away = False
        self._asleep_until = 0.0

    async def ask(self, purpose: str, question: Callable[[], Awaitable[T]]) -> T | None:
        """The answer to a question to Redis; None when it gave none, which is counted by purpose and warned of once."""
        if self._asleep_until > self._clock.monotonic():
            metrics.REDIS_FAILURES.labels(purpose).inc()
            return None
        try:
            answer = await question()
        except (RedisError, OSError, TimeoutError) as error:
            self._asleep_until = self._clock.monotonic() + PAUSE_S
            metrics.REDIS_FAILURES.labels(purpose).inc()
            if not self._away:
                _log.warning("Redis does not answer: rate limits are not kept and Idempotency-Keys are known in this process only", problem=str(error))
            self._away = True
            return None
        if self._away:
            _log.info("Redis answers again")
        self._away = False
        return answer

    async def close(self) -> None:
        await self.redis.aclose()
        await self.pool.aclose()

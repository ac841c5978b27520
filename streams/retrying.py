"""Repeating a step against a store that is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from infra.runtime.clickhouse import ClickHouseError
from infra.runtime.errors import MillstreamError
from infra.runtime.settings import StreamSettings

_log = structlog.get_logger()
_T = TypeVar("_T")


async def until_done(step: Callable[[], Awaitable[_T]], settings: StreamSettings, what: str, **where: object) -> _T:
    """The result of a step that is safe to repeat. Blocks as long as ClickHouse or Kafka are away: after a failure it waits
    `retry_initial_s`, then twice as long each time up to `retry_max_s`, with 20 % jitter. Raises what is not an outage.

    `what` and `where` say in the log what is not done yet.
    """
    pause = settings.retry_initial_s
    while True:
        try:
            return await step()
        except (ClickHouseError, MillstreamError, OSError) as error:
            _log.warning(f"{what}, trying again", **where, error=str(error)[:300])
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))
        pause = min(pause * 2, settings.retry_max_s)

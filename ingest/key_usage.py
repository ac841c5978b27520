"""When each key was last used: noted at every door, published a few times a minute."""

import asyncio
import contextlib

import structlog

from infra.runtime.errors import MillstreamError
from ingest.publish import Publisher
from schemas.avro import KeyUse, encode_key_use
from schemas.topics import KEY_USAGE

_log = structlog.get_logger()
EVERY_S = 10.0
"""Time between two publications, and so how much a time may lag behind."""
PAUSE_S = 1.0
"""Shortest time between two of them: a key that this process sees for the first time does not wait."""


class KeyUsage:
    """Collects uses in memory; what a crash loses is `EVERY_S` of them."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._used: dict[tuple[str, str], int] = {}
        self._published: set[tuple[str, str]] = set()
        self._first_use = asyncio.Event()

    def note(self, tenant: str, key_id: str, now_us: int) -> None:
        """The key is used now."""
        place = (tenant, key_id)
        self._used[place] = now_us
        if place not in self._published:
            self._first_use.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._first_use.wait(), EVERY_S)
            self._first_use.clear()
            await self.publish()
            await asyncio.sleep(PAUSE_S)

    async def publish(self) -> None:
        """Publish what was used since the last time. What Kafka does not take now is tried again next time."""
        used, self._used = self._used, {}
        uses = [KeyUse(tenant, key_id, at) for (tenant, key_id), at in used.items()]
        results = await asyncio.gather(*(self._send(use) for use in uses))
        missing = [use for use, sent in zip(uses, results, strict=True) if not sent]
        for use in missing:
            self._used.setdefault((use.tenant, use.id), use.used_at_us)
        self._published |= used.keys() - {(use.tenant, use.id) for use in missing}
        if missing:
            _log.warning("use of keys not published yet", keys=len(missing))

    async def _send(self, use: KeyUse) -> bool:
        try:
            await self._publisher.send(KEY_USAGE.name, encode_key_use(use), key=use.key)
        except MillstreamError:
            return False
        return True

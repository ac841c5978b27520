"""When each API key was last used, followed from the topic that ingest publishes on."""

from datetime import UTC, datetime, timedelta

from infra.runtime.follower import CompactedFollower
from schemas.avro import decode_key_use
from schemas.topics import KEY_USAGE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KeyUsage:
    """Last uses in memory; at most some ten seconds behind ingest."""

    def __init__(self, bootstrap: str) -> None:
        self._used: dict[tuple[str, str], int] = {}
        self._follower = CompactedFollower(bootstrap, KEY_USAGE.name, self.take)

    async def start(self) -> None:
        """Begin to follow; waits for no broker."""
        await self._follower.start()

    async def stop(self) -> None:
        await self._follower.stop()

    def take(self, _key: bytes, value: bytes) -> None:
        """Take one record of the topic in. Ingest processes publish side by side, so the latest time holds and not the last record.

        Raises ValueError when it is none.
        """
        if value:
            use = decode_key_use(value)
            place = (use.tenant, use.id)
            self._used[place] = max(use.used_at_us, self._used.get(place, 0))

    def last_used_at(self, tenant: str, key_id: str) -> datetime | None:
        """When the key was last used, in UTC; None when it never was."""
        used = self._used.get((tenant, key_id))
        return _EPOCH + timedelta(microseconds=used) if used else None

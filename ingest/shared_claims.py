"""Which body an Idempotency-Key stands for, known to every ingest process that shares the Redis, and over restarts."""

import hashlib
import uuid

from ingest.shared import Shared

_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Claim:
    """One attempt to use a key for a body."""

    def __init__(self, shared: Shared, name: str, digest: str, ttl_s: int) -> None:
        self._shared = shared
        self._name = name
        self._digest = digest
        # The second half tells attempts apart, so that a failed one does not give up what another one holds.
        self._value = f"{digest}/{uuid.uuid4().hex}"
        self._ttl_s = ttl_s
        self._first = False

    async def take(self) -> bool:
        """Whether the key may stand for the body: False when it came before with another one. True also while Redis is away."""
        return await self._shared.ask("idempotency", self._take) is not False

    async def settle(self, *, kept: bool) -> None:
        """Say how the attempt ended: the claim stays for its time, or another body may have the key."""
        if not kept:
            await self._shared.ask("idempotency", self._release)
        elif not self._first:
            await self._shared.ask("idempotency", self._keep)

    async def _take(self) -> bool:
        redis = self._shared.redis
        self._first = bool(await redis.set(self._name, self._value, nx=True, ex=self._ttl_s))
        if self._first:
            return True
        held = await redis.get(self._name)
        # None: whoever held the key gave it up in between.
        return held is None or (held.decode() if isinstance(held, bytes) else held).startswith(self._digest)

    async def _keep(self) -> bool:
        return bool(await self._shared.redis.set(self._name, self._value, ex=self._ttl_s))

    async def _release(self) -> bool:
        return bool(await self._shared.redis.eval(_RELEASE, 1, self._name, self._value))


class SharedClaims:
    """Makes claims that last `ttl_s` seconds."""

    def __init__(self, shared: Shared, ttl_s: int) -> None:
        self._shared = shared
        self._ttl_s = ttl_s

    def claim(self, place: str, digest: str) -> Claim:
        """A claim on a place, the key with its tenant and path, for the body with this digest in hex."""
        name = f"millstream:idempotency:{hashlib.sha256(place.encode()).hexdigest()}"
        return Claim(self._shared, name, digest, self._ttl_s)

"""Idempotency-Key: the same request stored once and answered alike, however often and however parallel it is sent."""

import asyncio
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from infra.runtime.clock import Clock
from infra.runtime.errors import Conflict, InvalidArgument
from ingest.exchange import DoorAnswer
from ingest.shared_claims import SharedClaims

_NAMESPACE = uuid.UUID("6f1f6c3a-5d0e-5c57-9a53-1f0f3a1b7d11")
_MAX_KEYS = 200_000


@dataclass
class _Known:
    digest: bytes
    answer: "asyncio.Future[DoorAnswer]"
    at: float


class IdempotencyKeys:
    """Answers by (tenant, path, key), in the memory of one process.

    Beyond that memory (another process, a restart) the batch id still holds: it is made of tenant, path, key and body,
    so the same request is one insert token and one set of event ids wherever it is sent. That a key came with another body is known
    beyond it only by `claims`; without them another process stores the other body too.
    """

    def __init__(self, clock: Clock, ttl_s: int, claims: SharedClaims | None = None) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._claims = claims
        self._known: OrderedDict[tuple[str, str, str], _Known] = OrderedDict()

    async def once(self, tenant: str, path: str, key: str, body: bytes, store: Callable[[str | None], Awaitable[DoorAnswer]]) -> DoorAnswer:
        """The answer of `store(batch_id)`, called once per key; `store(None)` when the request has no key.

        Raises Conflict when the key came before with another body. A failed or refused attempt is forgotten, so that
        the client may try again with the same key.
        """
        if not key:
            return await store(None)
        if len(key) > 255:
            raise InvalidArgument("Idempotency-Key is longer than 255 characters.")
        digest = hashlib.sha256(body).digest()
        self._expire()
        place = (tenant, path, key)
        known = self._known.get(place)
        if known is not None:
            if known.digest != digest:
                raise _conflict()
            return await asyncio.shield(known.answer)
        answer: asyncio.Future[DoorAnswer] = asyncio.get_running_loop().create_future()
        self._known[place] = _Known(digest, answer, self._clock.monotonic())
        claim = self._claims.claim("\0".join(place), digest.hex()) if self._claims else None
        try:
            if claim and not await claim.take():
                raise _conflict()
            result = await store(str(uuid.uuid5(_NAMESPACE, "\0".join((*place, digest.hex())))))
        except BaseException as error:
            self._known.pop(place, None)
            if isinstance(error, Exception):
                answer.set_exception(error)
                answer.exception()  # marks it as seen: nobody else may be waiting
            else:
                answer.cancel()
            if claim:
                await claim.settle(kept=False)
            raise
        answer.set_result(result)
        if result.status >= 300:
            self._known.pop(place, None)
        if claim:
            await claim.settle(kept=result.status < 300)
        return result

    def _expire(self) -> None:
        oldest = self._clock.monotonic() - self._ttl_s
        while self._known:
            place, known = next(iter(self._known.items()))
            if known.at > oldest and len(self._known) < _MAX_KEYS or not known.answer.done():
                return
            del self._known[place]


def _conflict() -> Conflict:
    return Conflict("This Idempotency-Key came before with another body. Use a new key for a new request.")

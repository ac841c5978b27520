"""Setting webhooks up, trying them, and looking at what was delivered."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from infra.runtime.clock import Clock
from infra.runtime.errors import NotFound, ValidationFailed
from infra.runtime.outbound import Outbound, is_address
from query_api.control.audit import Actor
from query_api.control.webhook_queue import Message, WebhookQueue
from query_api.control.webhook_sender import WebhookSender
from query_api.control.webhooks import Delivery, Webhook, WebhookStore, new_id
from schemas.webhook_events import TEST_EVENT, body_of

T = TypeVar("T")


class CreatedWebhook(NamedTuple):
    """A new webhook. The secret is shown once."""

    webhook: Webhook
    secret: str

    def __repr__(self) -> str:
        return f"CreatedWebhook({self.webhook!r})"


class Webhooks:
    """The operations on the webhooks of a tenant. A webhook of another tenant is not found."""

    def __init__(self, store: WebhookStore, queue: WebhookQueue, outbound: Outbound, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._outbound = outbound
        self._sender = WebhookSender(outbound, clock)
        self._clock = clock

    async def create(self, tenant: str, values: Mapping[str, Any], actor: Actor) -> CreatedWebhook:
        """Raises `ValidationFailed` for a URL that cannot be used and `Conflict` beyond the limit of webhooks."""
        self._check_url(values["url"])
        return CreatedWebhook(*await self._store.create(tenant, values, actor))

    async def page(self, tenant: str, offset: int, limit: int) -> tuple[Sequence[Webhook], int]:
        """Part of the webhooks, oldest first, and how many there are."""
        return await self._store.list(tenant, offset, limit)

    async def get(self, tenant: str, webhook_id: str) -> Webhook:
        return _found(await self._store.get(tenant, webhook_id), webhook_id)

    async def update(self, tenant: str, webhook_id: str, values: Mapping[str, Any], actor: Actor) -> Webhook:
        """Changes the fields given. Raises as `create` does."""
        if "url" in values:
            self._check_url(values["url"])
        return _found(await self._store.update(tenant, webhook_id, values, actor), webhook_id)

    async def remove(self, tenant: str, webhook_id: str, actor: Actor) -> None:
        """Deletes the webhook and its log."""
        _found(await self._store.remove(tenant, webhook_id, actor) or None, webhook_id)

    async def rotate_secret(self, tenant: str, webhook_id: str, actor: Actor) -> str:
        """A new secret, shown once; the old one goes on signing beside it for a day."""
        return _found(await self._store.rotate(tenant, webhook_id, actor), webhook_id)

    async def test(self, tenant: str, webhook_id: str) -> Delivery:
        """Sends a test message now, once, also to a disabled webhook, and says what became of it."""
        target = _found(await self._store.target(tenant, webhook_id), webhook_id)
        now = self._clock.now_us()
        message = Message(new_id("msg", now), body_of(TEST_EVENT, now, {"webhook_id": webhook_id}))
        verdict = await self._sender.send(target, message, 0, retries=False)
        return await self._queue.tested(tenant, webhook_id, message, TEST_EVENT, verdict.ended)

    async def deliveries(self, tenant: str, webhook_id: str, status: str | None, offset: int, limit: int) -> tuple[Sequence[Delivery], int]:
        """Part of the deliveries, newest first, and how many there are."""
        await self.get(tenant, webhook_id)
        return await self._store.log(tenant, webhook_id, status, offset, limit)

    async def retry(self, tenant: str, webhook_id: str, delivery_id: str) -> Delivery:
        """Makes a delivery due now; the dispatcher sends it a moment later, under the same id as before."""
        found = await self._store.retry(tenant, webhook_id, delivery_id)
        if found is None:
            raise NotFound(f"webhook {webhook_id!r} has no delivery {delivery_id!r}")
        return found

    def _check_url(self, url: str) -> None:
        """Says early what would fail at every delivery. What a name resolves to is checked when a connection is made."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            problem = "" if parts.port != 0 else "the port must be between 1 and 65535"
        except ValueError as error:
            host, problem = "", str(error)
        else:
            if parts.scheme not in ("http", "https") or not host:
                problem = "must be an absolute http or https URL, such as https://example.com/hooks"
            elif parts.username is not None or parts.password is not None:
                problem = "must carry no user or password; the signature proves who sends"
            elif any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
                problem = "must carry no spaces or control characters"
            elif is_address(host) and not self._outbound.permits(host):
                problem = "this address is not public; an operator may allow its network with MILLSTREAM_WEBHOOKS_ALLOW_PRIVATE"
        if problem:
            raise ValidationFailed(f"url: {problem}", details={"fields": [{"field": "url", "message": problem, "type": "url"}]})


def _found(value: T | None, webhook_id: str) -> T:
    if value is None:
        raise NotFound(f"there is no webhook {webhook_id!r}")
    return value

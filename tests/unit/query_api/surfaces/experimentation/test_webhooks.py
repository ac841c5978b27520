"""Webhooks over the API: set up, tried and looked at; the secret is shown once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook as Verifier

from infra.runtime.clock import SystemClock
from infra.runtime.outbound import Outbound, networks
from query_api.control.audit import AuditFilter
from query_api.control.webhook_queue import WebhookQueue
from query_api.control.webhooks import WebhookStore
from query_api.domain.webhooks import Webhooks
from tests.unit.query_api.stored import Service

URL = "https://example.com/hooks"
UNKNOWN = "wh_unknown"


class Receiver:
    """Keeps what it got and answers with a status."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[bytes, dict[str, str]]] = []
        app = web.Application()
        app.router.add_post("/", self._take)
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        self.got.append((await request.read(), dict(request.headers)))
        return web.Response(status=self.status)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.server.start_server()
    yield receiver
    await receiver.server.close()


@asynccontextmanager
async def allowing(service: Service, allowed: str) -> AsyncIterator[Service]:
    """The service, with networks that webhooks may reach although they are not public."""
    engine, clock = service.parts.control.engine, SystemClock()
    outbound = Outbound(networks(allowed), 5.0)
    try:
        yield Service(replace(service.parts, webhooks=Webhooks(WebhookStore(engine, clock), WebhookQueue(engine, clock), outbound, clock)))
    finally:
        await outbound.close()


@pytest.fixture
async def reaching(service: Service) -> AsyncIterator[Service]:
    """The service, allowed to reach receivers on loopback."""
    async with allowing(service, "127.0.0.1/32") as reaching:
        yield reaching


async def created(service: Service, **fields: Any) -> dict[str, Any]:
    answer = await service.ask("POST", "/webhooks", body={"url": URL} | fields)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_a_webhook_is_created_read_changed_and_deleted(service: Service) -> None:
    webhook = await created(service, events=["flag.toggled", "flag.toggled"], description="deploys")
    secret = webhook.pop("secret")
    assert secret.startswith("whsec_") and webhook["events"] == ["flag.toggled"] and webhook["enabled"] is True
    path = f"/webhooks/{webhook['id']}"
    for method, body in (("GET", None), ("PUT", {})):
        answer = await service.ask(method, path, body=body)
        assert answer.json() == {"data": webhook, "meta": {}}, answer.text
    changed = (await service.ask("PUT", path, body={"enabled": False, "events": []})).json()["data"]
    assert (changed["enabled"], changed["events"], changed["url"], changed["description"]) == (False, [], URL, "deploys")
    listed = (await service.ask("GET", "/webhooks")).json()
    assert listed == {"data": [changed], "meta": {"total": 1, "page": 1, "limit": 20, "pages": 1}}
    assert (await service.ask("DELETE", path)).json()["data"] == {"id": webhook["id"], "deleted": True}
    assert (await service.ask("GET", path)).status_code == 404


async def test_the_secret_is_shown_once_and_stands_nowhere_else(service: Service) -> None:
    webhook = await created(service)
    path = f"/webhooks/{webhook['id']}"
    rotated = (await service.ask("POST", f"{path}/rotate-secret")).json()["data"]
    assert rotated.keys() == {"secret"} and rotated["secret"] != webhook["secret"]
    for method, where in (("GET", "/webhooks"), ("GET", path), ("GET", f"{path}/deliveries")):
        text = (await service.ask(method, where)).text
        assert "whsec_" not in text
    assert "whsec_" not in repr(await service.parts.control.audit_log("default", AuditFilter()))
    assert "whsec_" not in repr(await service.parts.control.unpublished(1_000))


async def test_pages(service: Service) -> None:
    names = {(await created(service))["id"] for _ in range(3)}
    pages = [(await service.ask("GET", "/webhooks", params={"page": page, "limit": 2})).json() for page in (1, 2, 3)]
    assert [len(page["data"]) for page in pages] == [2, 1, 0]
    assert {webhook["id"] for page in pages for webhook in page["data"]} == names
    assert pages[0]["meta"] == {"total": 3, "page": 1, "limit": 2, "pages": 2}


@pytest.mark.parametrize(
    "url",
    [
        "example.com/hooks",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user:password@example.com/",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://exa mple.com/",
        "https://example.com/\n",
        "http://127.0.0.1:8080/",
        "http://[::1]/",
        "http://[fe80::1%25eth0]/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "",
        "https://example.com/" + "x" * 2_000,
    ],
)
async def test_an_address_that_would_never_work_is_refused_with_the_reason(service: Service, url: str) -> None:
    answer = await service.ask("POST", "/webhooks", body={"url": url})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "VALIDATION_ERROR"), answer.text
    assert error["details"]["fields"][0]["field"].endswith("url")
    webhook = await created(service)
    assert (await service.ask("PUT", f"/webhooks/{webhook['id']}", body={"url": url})).status_code == 422


@pytest.mark.parametrize("body", [{}, {"url": URL, "events": ["flag.renamed"]}, {"url": URL, "secret": "whsec_x"}, {"url": URL, "enabled": "yes"}, {"url": 5}])
async def test_a_wrong_body_is_refused(service: Service, body: dict[str, Any]) -> None:
    assert (await service.ask("POST", "/webhooks", body=body)).status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/rotate-secret"),
        ("POST", "/test"),
        ("GET", "/deliveries"),
        ("POST", "/deliveries/dlv_unknown/retry"),
    ],
)
async def test_what_is_not_ones_own_is_not_found(service: Service, method: str, path: str) -> None:
    foreign = await created(service)
    for webhook, key in ((UNKNOWN, "admin"), (foreign["id"], "other")):
        answer = await service.ask(method, f"/webhooks/{webhook}{path}", key, {"description": "x"} if method == "PUT" else None)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert (await service.ask("GET", f"/webhooks/{foreign['id']}")).json()["data"]["description"] == ""


@pytest.mark.parametrize(
    ("key", "reads", "writes"), [("admin", 200, 201), ("developer", 200, 201), ("analyst", 200, 403), ("viewer", 403, 403), (None, 401, 401)]
)
async def test_roles(service: Service, key: str | None, reads: int, writes: int) -> None:
    assert (await service.ask("GET", "/webhooks", key)).status_code == reads
    assert (await service.ask("POST", "/webhooks", key, {"url": URL})).status_code == writes


async def test_the_test_button_sends_a_signed_message_and_tells_what_came_back(reaching: Service, receiver: Receiver) -> None:
    webhook = await created(reaching, url=receiver.url)
    path = f"/webhooks/{webhook['id']}"
    sent = (await reaching.ask("POST", f"{path}/test")).json()["data"]
    ((body, headers),) = receiver.got
    assert Verifier(webhook["secret"]).verify(body, headers)["type"] == "webhook.test"
    assert (sent["status"], sent["response_code"], sent["event"], sent["event_id"]) == ("delivered", 200, "webhook.test", headers["webhook-id"])
    receiver.status = 500
    await reaching.ask("PUT", path, body={"enabled": False})
    failed = (await reaching.ask("POST", f"{path}/test")).json()["data"]
    assert (failed["status"], failed["error"], failed["next_attempt_at"]) == ("failed", "the receiver answered 500", None)
    log = (await reaching.ask("GET", f"{path}/deliveries")).json()
    assert {line["id"] for line in log["data"]} == {sent["id"], failed["id"]} and log["meta"]["total"] == 2
    only = (await reaching.ask("GET", f"{path}/deliveries", params={"status": "failed"})).json()["data"]
    assert [line["id"] for line in only] == [failed["id"]]


async def test_a_private_address_is_refused_when_a_name_leads_to_it(service: Service) -> None:
    async with allowing(service, "") as careful:
        webhook = await created(careful, url="http://localhost:9/")
        sent = (await careful.ask("POST", f"/webhooks/{webhook['id']}/test")).json()["data"]
    assert sent["status"] == "failed" and "not public" in sent["error"]


async def test_a_delivery_is_sent_again_on_demand(reaching: Service, receiver: Receiver) -> None:
    webhook = await created(reaching, url=receiver.url)
    sent = (await reaching.ask("POST", f"/webhooks/{webhook['id']}/test")).json()["data"]
    again = await reaching.ask("POST", f"/webhooks/{webhook['id']}/deliveries/{sent['id']}/retry")
    assert again.status_code == 202 and again.json()["data"]["status"] == "pending" and again.json()["data"]["next_attempt_at"]
    (due,) = await WebhookQueue(reaching.parts.control.engine, SystemClock()).due(10, 10, ())
    assert (due.id, due.message.event) == (sent["id"], sent["event_id"])
    assert due.message.body.encode() == receiver.got[0][0]

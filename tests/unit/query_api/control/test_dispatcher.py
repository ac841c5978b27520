"""Messages are sent until they are taken, on the schedule of Standard Webhooks, whatever dies in between."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from standardwebhooks import Webhook as Verifier
from structlog.testing import capture_logs

from infra.runtime.errors import Unavailable
from infra.runtime.outbound import Answer, Outbound
from query_api.control.audit import Actor, audited
from query_api.control.dispatcher import AT_ONCE_EACH, WebhookDispatcher
from query_api.control.leadership import Leadership
from query_api.control.store import ControlStore, Draft
from query_api.control.webhook_queue import Due, Ended, WebhookQueue
from query_api.control.webhook_sender import RETRIES_S, WebhookSender, judged
from query_api.control.webhooks import Delivery, Webhook, WebhookStore
from schemas.definition_kinds import encode_definition
from schemas.flag import Flag, Variation
from tests.clock import HandClock

NOBODY = Actor("")
TAKEN = Answer(204, "", 0.01)
BROKEN = Answer(500, "", 0.01)
DAY_US = 86_400 * 1_000_000
MORNING_US = 1_767_225_600_000_000


@dataclass
class Sent:
    """One request that was made."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    at_us: int


@dataclass
class Receivers:
    """Answers in place of the network, by URL."""

    clock: HandClock
    answers: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    hanging: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """Set the event of a URL and its requests come back."""

    def outbound(self) -> Outbound:
        receivers = self

        class Scripted(Outbound):
            async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
                receivers.sent.append(Sent(url, body, headers, receivers.clock.us))
                if url in receivers.hanging:
                    await receivers.hanging[url].wait()
                return receivers.answers.get(url, lambda: TAKEN)()

        return Scripted((), 1.0)


@dataclass
class Room:
    """A store, what the outside answers, and processes that come and go."""

    store: ControlStore
    clock: HandClock
    receivers: Receivers

    @property
    def webhooks(self) -> WebhookStore:
        return WebhookStore(self.store.engine, self.clock)

    def dispatcher(self, queue: WebhookQueue | None = None) -> WebhookDispatcher:
        """As a process has it that just started."""
        sender = WebhookSender(self.receivers.outbound(), self.clock)
        chosen = queue or WebhookQueue(self.store.engine, self.clock)
        leadership = Leadership(self.store.engine, "webhooks")
        return WebhookDispatcher(chosen, sender, leadership, self.clock, poll_s=0.01, keep_days=30, commits=self.store.commits)

    async def webhook(self, url: str = "https://one.example/") -> tuple[Webhook, str]:
        return await self.webhooks.create("shop", {"url": url, "description": "", "events": (), "enabled": True}, NOBODY)

    async def toggle(self) -> None:
        self.clock.us += 1
        before = Flag(tenant="shop", id="f", key="f", variations=(Variation("1", "on", True), Variation("2", "off", False)))
        after = msgspec.structs.replace(before, enabled=True)
        await self.store.write([Draft("flag", "shop", "f", encode_definition(after))], [audited(NOBODY, "flag.toggled", before, after)])

    async def log(self, webhook: Webhook) -> list[Delivery]:
        return list((await self.webhooks.log("shop", webhook.id, None, 0, 100))[0])


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    clock = HandClock(MORNING_US)
    store = ControlStore(f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3", clock)
    await store.migrate()
    yield Room(store, clock, Receivers(clock))
    await store.close()


async def once(dispatcher: WebhookDispatcher) -> None:
    await dispatcher.round()
    await dispatcher.settled()


async def test_a_message_is_signed_for_its_receiver_and_taken_once(room: Room) -> None:
    webhook, secret = await room.webhook()
    await room.toggle()
    dispatcher = room.dispatcher()
    await once(dispatcher)
    await once(dispatcher)
    (sent,) = room.receivers.sent
    assert json.loads(sent.body)["type"] == "flag.toggled" and sent.headers["Content-Type"] == "application/json"
    at_s = room.clock.us // 1_000_000
    signature = Verifier(secret).sign(sent.headers["webhook-id"], datetime.fromtimestamp(at_s, UTC), sent.body.decode())
    assert (sent.headers["webhook-timestamp"], sent.headers["webhook-signature"]) == (str(at_s), signature)
    (line,) = await room.log(webhook)
    assert (line.status, line.attempts, line.response_code, line.error, line.next_attempt_us) == ("delivered", 1, 204, "", None)
    assert line.event == sent.headers["webhook-id"]
    await dispatcher.close()


async def test_the_whole_schedule_then_failed(room: Room) -> None:
    webhook, _ = await room.webhook()
    room.receivers.answers["https://one.example/"] = lambda: BROKEN
    await room.toggle()
    dispatcher = room.dispatcher()
    begin = room.clock.us
    with capture_logs() as logs:
        await once(dispatcher)
    assert (logs[-1]["event"], logs[-1]["problem"]) == ("webhook not delivered", "the receiver answered 500")
    for _ in range(len(RETRIES_S) + 3):
        await once(dispatcher)
        (line,) = await room.log(webhook)
        if line.next_attempt_us is not None:
            room.clock.us = line.next_attempt_us - 1
            await once(dispatcher)
            room.clock.us = line.next_attempt_us
        else:
            room.clock.us += DAY_US
    pauses = [(sent.at_us - begin) // 1_000_000 for sent in room.receivers.sent]
    assert pauses == [0, 5, 305, 2_105, 9_305, 27_305, 63_305, 113_705, 185_705, 272_105]
    assert (line.status, line.attempts, line.response_code, line.error) == ("failed", 10, 500, "the receiver answered 500")
    assert len({sent.headers["webhook-id"] for sent in room.receivers.sent}) == 1
    assert len({sent.headers["webhook-timestamp"] for sent in room.receivers.sent}) == 10
    await dispatcher.close()


async def test_a_process_that_dies_after_the_change_leaves_the_message_to_the_next(room: Room) -> None:
    await room.webhook()
    await room.toggle()
    first = room.dispatcher()
    await first.close()
    second = room.dispatcher()
    await once(second)
    assert len(room.receivers.sent) == 1
    await second.close()


async def test_a_process_that_dies_between_sending_and_noting_it_repeats_under_the_same_id(room: Room) -> None:
    webhook, _ = await room.webhook()
    await room.toggle()
    hanging = room.receivers.hanging["https://one.example/"]
    first = room.dispatcher()
    await first.round()
    while not room.receivers.sent:
        await asyncio.sleep(0)
    await first.close()
    hanging.set()
    second = room.dispatcher()
    await once(second)
    assert len(room.receivers.sent) == 2
    assert len({(sent.headers["webhook-id"], sent.body) for sent in room.receivers.sent}) == 1
    assert [line.status for line in await room.log(webhook)] == ["delivered"]
    await second.close()


async def test_an_attempt_that_cannot_be_noted_is_made_again(room: Room) -> None:
    class Forgetful(WebhookQueue):
        away = True

        async def end(self, due: Due, ended: Ended, disable: str = "") -> None:
            if self.away:
                self.away = False
                raise Unavailable("The control store cannot be used.")
            await super().end(due, ended, disable)

    webhook, _ = await room.webhook()
    await room.toggle()
    dispatcher = room.dispatcher(Forgetful(room.store.engine, room.clock))
    await once(dispatcher)
    assert [line.status for line in await room.log(webhook)] == ["pending"]
    await once(dispatcher)
    assert [line.status for line in await room.log(webhook)] == ["delivered"]
    await dispatcher.close()


async def test_a_receiver_that_is_gone_gets_nothing_more(room: Room) -> None:
    webhook, _ = await room.webhook()
    room.receivers.answers["https://one.example/"] = lambda: Answer(410, "", 0.01)
    await room.toggle()
    dispatcher = room.dispatcher()
    await once(dispatcher)
    await room.toggle()
    room.clock.us += DAY_US
    await once(dispatcher)
    found = await room.webhooks.get("shop", webhook.id)
    assert found is not None and not found.enabled and "410" in found.disabled_reason
    assert len(room.receivers.sent) == 1
    await dispatcher.close()


async def test_a_receiver_that_hangs_holds_up_no_other(room: Room) -> None:
    await room.webhook("https://slow.example/")
    quick, _ = await room.webhook("https://quick.example/")
    hanging = room.receivers.hanging["https://slow.example/"]
    for _ in range(3 * AT_ONCE_EACH):
        await room.toggle()
    dispatcher = room.dispatcher()
    running = asyncio.create_task(dispatcher.run())
    async with asyncio.timeout(20):
        while [line.status for line in await room.log(quick)] != ["delivered"] * (3 * AT_ONCE_EACH):
            await asyncio.sleep(0.01)
    assert sum(sent.url == "https://slow.example/" for sent in room.receivers.sent) == AT_ONCE_EACH
    hanging.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_only_one_process_sends(room: Room) -> None:
    await room.webhook()
    await room.toggle()
    leader, other = room.dispatcher(), room.dispatcher()
    await once(leader)
    await room.toggle()
    await once(other)
    assert len(room.receivers.sent) == 1
    await leader.close()
    await once(other)
    assert len(room.receivers.sent) == 2
    await other.close()


@pytest.mark.parametrize(
    ("answer", "attempts", "status", "pause_s", "words"),
    [
        (Answer(200, "", 1.0), 0, "delivered", None, ""),
        (Answer(299, "", 1.0), 0, "delivered", None, ""),
        (Answer(302, "", 1.0), 0, "pending", 5, "redirects are not followed"),
        (Answer(400, "", 1.0), 1, "pending", 300, "answered 400"),
        (Answer(None, "no answer within 15 s", 15.0), 2, "pending", 1_800, "no answer within 15 s"),
        (Answer(503, "", 1.0, 600), 0, "pending", 600, "answered 503"),
        (Answer(503, "", 1.0, 1), 0, "pending", 5, "answered 503"),
        (Answer(503, "", 1.0, 99_999_999), 0, "pending", 86_400, "answered 503"),
        (Answer(500, "", 1.0), 9, "failed", None, "answered 500"),
        (Answer(410, "", 1.0), 0, "failed", None, "410"),
    ],
)
def test_what_answers_mean(answer: Answer, attempts: int, status: str, pause_s: int | None, words: str) -> None:
    ended = judged(answer, attempts, 0).ended
    assert (ended.status, ended.next_attempt_us) == (status, None if pause_s is None else pause_s * 1_000_000)
    assert words in ended.error


def test_a_test_message_is_not_repeated() -> None:
    assert judged(BROKEN, 0, 0, retries=False).ended.status == "failed"

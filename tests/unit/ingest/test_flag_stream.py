"""The stream of flag changes: what is told when, and that nobody waits for a slow reader."""

import asyncio
import datetime as dt

import msgspec
import pytest

from infra.runtime.errors import Overloaded
from ingest.exchange import Message
from tests.support import eventually
from tests.unit.ingest.evaluation_support import Platform, define, experiment, flag, key


class Listener:
    """A client that keeps its stream open until the test ends it."""

    def __init__(self, platform: Platform, known: str = "", tenant: str = "acme") -> None:
        self.text = ""
        self.ended = False
        self.reads = asyncio.Event()
        self.reads.set()
        self._gone = asyncio.Event()
        self.task = asyncio.create_task(platform.streams.serve(tenant, "k1", known, [(b"x-more", b"1")], self._receive, self._send))

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        self.text += message.get("body", b"").decode()
        self.ended = message["type"] == "http.response.body" and not message.get("more_body")

    async def leave(self) -> None:
        self._gone.set()
        await self.task

    @property
    def ids(self) -> list[str]:
        return [line.removeprefix("id: ") for line in self.text.splitlines() if line.startswith("id: ")]


async def opened(platform: Platform, known: str = "") -> Listener:
    listener = Listener(platform, known)
    await eventually(lambda: "retry:" in listener.text)
    return listener


async def test_a_change_is_told_once_it_can_be_evaluated() -> None:
    platform = Platform(flag())
    listener = await opened(platform)
    assert listener.ids == [], "who has just asked knows the present version"
    define(platform.definitions, flag(enabled=False))
    await eventually(lambda: bool(listener.ids))
    version = platform.evaluators.version("acme")
    frame = listener.text[listener.text.index("id: ") :]
    assert frame.startswith(f"id: {version}\nevent: message\ndata: ") and frame.endswith("\n\n")
    data = msgspec.json.decode(frame.splitlines()[2].removeprefix("data: "))
    assert data == {"type": "refetchEvaluation", "etag": version, "lastModified": platform.clock.us // 1_000_000}
    await listener.leave()
    assert platform.streams.open == 0


@pytest.mark.parametrize("known", ["before", "now"])
async def test_the_last_event_id_decides_whether_something_was_missed(known: str) -> None:
    platform = Platform(flag())
    before = platform.evaluators.version("acme")
    define(platform.definitions, flag(enabled=False))
    now = platform.evaluators.version("acme")
    listener = await opened(platform, {"before": before, "now": now}[known])
    missed = [now] if known == "before" else []
    await eventually(lambda: listener.ids == missed)
    define(platform.definitions, experiment())
    after = platform.evaluators.version("acme")
    await eventually(lambda: listener.ids == [*missed, after])
    await listener.leave()


async def test_a_slow_reader_delays_nobody_and_finds_the_newest() -> None:
    platform = Platform(flag())
    slow, quick = await opened(platform), await opened(platform)
    slow.reads.clear()
    seen: list[str] = []
    for enabled in (False, True, False):
        define(platform.definitions, flag(enabled=enabled, name="checkout", description=f"step {len(seen)}"))
        seen.append(platform.evaluators.version("acme"))
        await eventually(lambda: quick.ids == seen)  # noqa: B023 - called before the loop goes on
    assert slow.ids == []
    slow.reads.set()
    await eventually(lambda: slow.ids[-1:] == seen[-1:])
    assert len(slow.ids) <= 2, "what is over is not told"
    await slow.leave()
    await quick.leave()


async def test_changes_of_other_tenants_and_other_things_are_not_told() -> None:
    platform = Platform(flag())
    listener = await opened(platform)
    define(platform.definitions, msgspec.structs.replace(flag(), tenant="other"), key(name="k2", text="yet-another-key"))
    define(platform.definitions, experiment())
    await eventually(lambda: bool(listener.ids))
    assert listener.ids == [platform.evaluators.version("acme")]
    await listener.leave()


async def test_silence_is_filled_with_comments() -> None:
    platform = Platform(flag(), heartbeat_s=0.01)
    listener = await opened(platform)
    await eventually(lambda: listener.text.count(":\n\n") >= 2)
    assert listener.ids == []
    await listener.leave()


async def test_a_stream_ends_with_its_key() -> None:
    platform = Platform(flag())
    listener = await opened(platform)
    define(platform.definitions, msgspec.structs.replace(key(), revoked_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    await eventually(lambda: listener.ended)
    await listener.leave()


async def test_the_number_of_streams_is_bounded() -> None:
    platform = Platform(flag(), streams=1)
    first = await opened(platform)
    refused = Listener(platform)
    with pytest.raises(Overloaded):
        await refused.task
    assert refused.text == "" and platform.streams.open == 1
    await first.leave()
    await (await opened(platform)).leave()


async def test_closing_ends_every_stream() -> None:
    platform = Platform(flag())
    listeners = [await opened(platform) for _ in range(3)]
    platform.streams.close()
    await eventually(lambda: all(listener.ended for listener in listeners))
    assert platform.streams.open == 0
    for listener in listeners:
        await listener.leave()

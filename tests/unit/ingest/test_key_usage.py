"""Uses of keys: collected, published once each, kept while Kafka is away."""

from typing import Any

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Unavailable
from infra.runtime.settings import Settings
from ingest.admission import Admission
from ingest.key_usage import KeyUsage
from schemas.api_keys import hash_secret
from schemas.avro import decode_key_use
from schemas.definition_kinds import ControlRecord, Key, encode_definition
from schemas.definitions import Definitions
from schemas.session import open_session

TEXT = "some-key-0123456789abcdef"


class Sent:
    """Takes records in place of Kafka."""

    def __init__(self) -> None:
        self.uses: list[tuple[str, str, int]] = []
        self.keys: list[bytes] = []
        self.down = False

    async def send(self, topic: str, value: bytes, *, key: bytes) -> str:
        if self.down:
            raise Unavailable("away")
        use = decode_key_use(value)
        self.uses.append((use.tenant, use.id, use.used_at_us))
        self.keys.append(key)
        return f"{topic}:0:0"


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def usage(sent: Sent) -> KeyUsage:
    publisher: Any = sent
    return KeyUsage(publisher)


async def test_each_key_is_published_once_with_its_last_use(usage: KeyUsage, sent: Sent) -> None:
    for at in (1, 2, 3):
        usage.note("acme", "k1", at)
    usage.note("other", "k1", 2)
    await usage.publish()
    await usage.publish()
    assert sent.uses == [("acme", "k1", 3), ("other", "k1", 2)] and sent.keys == [b"acme/k1", b"other/k1"]


async def test_what_kafka_did_not_take_is_published_later(usage: KeyUsage, sent: Sent) -> None:
    sent.down = True
    usage.note("acme", "k1", 1)
    usage.note("acme", "k2", 1)
    await usage.publish()
    sent.down = False
    usage.note("acme", "k1", 5)
    await usage.publish()
    assert sorted(sent.uses) == [("acme", "k1", 5), ("acme", "k2", 1)]


async def test_every_way_in_counts_as_a_use_and_a_wrong_key_does_not(usage: KeyUsage, sent: Sent) -> None:
    definitions = Definitions()
    key = Key(tenant="acme", id="k1", name="one", sha256=hash_secret(TEXT), role="read", tier="standard")
    definitions.apply(ControlRecord("key", "acme", "k1", 1, False, encode_definition(key), 1))
    admission = Admission(definitions, Settings(), SystemClock(), usage)
    assert admission.recognise([(b"x-api-key", b"wrong"), (b"accept", b"*/*")]) is None and admission.recognise([]) is None
    await usage.publish()
    assert not sent.uses
    for headers in ([(b"authorization", f"Bearer {TEXT}".encode())], [(b"api-key", TEXT.encode())]):
        caller = admission.recognise(headers)
        assert caller and (caller.tenant, caller.key_id, caller.tier, caller.may_send) == ("acme", "k1", "standard", False)
        await usage.publish()
    admission.identify({"x-api-key": TEXT}, "10.0.0.1")
    await usage.publish()
    cookie = f"_page_key={open_session(key, '_page_key', SystemClock().now_us())[0]}"
    assert admission.recognise([(b"cookie", cookie[:-2].encode())], "_page_key") is None and admission.recognise([(b"cookie", cookie.encode())]) is None
    await usage.publish()
    assert [use[:2] for use in sent.uses] == [("acme", "k1")] * 3
    assert admission.recognise([(b"cookie", cookie.encode())], "_page_key")
    await usage.publish()
    admission.identify({"cookie": cookie}, "10.0.0.1", cookie="_page_key")
    await usage.publish()
    assert [use[:2] for use in sent.uses] == [("acme", "k1")] * 5, "sessions are uses of their key"

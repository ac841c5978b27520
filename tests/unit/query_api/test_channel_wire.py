"""Messages of Phoenix Channels, in both versions of its JSON."""

import json

import pytest

from infra.runtime.errors import InvalidArgument
from query_api.live.channel_wire import Message, Serializer, reply

MESSAGE = Message("1", "5", "telemetry:all", "subscribe", {"event_types": ["a"]})
SECOND = '["1","5","telemetry:all","subscribe",{"event_types":["a"]}]'
FIRST = '{"topic":"telemetry:all","event":"subscribe","payload":{"event_types":["a"]},"ref":"5","join_ref":"1"}'


def test_version_2_is_an_array() -> None:
    wire = Serializer("2.0.0")
    assert wire.decode(SECOND) == MESSAGE and json.loads(wire.encode(MESSAGE)) == json.loads(SECOND)
    assert wire.decode('[null,"1","phoenix","heartbeat",{}]').join_ref is None


@pytest.mark.parametrize("version", ["1.0.0", "1", ""])
def test_version_1_is_an_object(version: str) -> None:
    wire = Serializer(version)
    assert wire.decode(FIRST) == MESSAGE and json.loads(wire.encode(MESSAGE)) == json.loads(FIRST)
    assert wire.decode('{"topic":"t","event":"phx_join","payload":{},"ref":"1"}') == Message(None, "1", "t", "phx_join", {})


@pytest.mark.parametrize("text", ["", "{}", "[]", FIRST, '["1","5","t","e"]', '["1","5","t","e",[]]', "[" * 5_000, b"\x00\x01\x01\x01abc"])
def test_what_is_no_message_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidArgument):
        Serializer("2.0.0").decode(text)


def test_another_version_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="3"):
        Serializer("3.0.0")


def test_a_reply_repeats_what_it_answers() -> None:
    assert reply(MESSAGE, {"a": 1}) == Message("1", "5", "telemetry:all", "phx_reply", {"status": "ok", "response": {"a": 1}})
    assert reply(MESSAGE, {}, ok=False).payload["status"] == "error"

"""Tokens of the stream: only for it, only for a while, only as long as the key."""

import base64
import datetime as dt

import msgspec
import pytest

from ingest.stream_token import SLOT_S, key_of_token, make_token
from schemas.definitions import Definitions
from tests.clock import HandClock
from tests.unit.ingest.evaluation_support import TEXT, define, key


def test_a_token_stands_for_its_key_until_the_end_of_the_next_hour() -> None:
    definitions, clock = Definitions(), HandClock()
    clock.us -= clock.us % (SLOT_S * 1_000_000)
    define(definitions, key())
    token = make_token(key(), clock.us)
    assert key_of_token(definitions, token, clock.us) == key()
    clock.forward(SLOT_S - 1)
    assert make_token(key(), clock.us) == token, "a client keeps its address"
    clock.forward(SLOT_S)
    assert make_token(key(), clock.us) != token and key_of_token(definitions, token, clock.us) is not None
    clock.forward(1)
    assert key_of_token(definitions, token, clock.us) is None


def test_a_token_ends_with_its_key() -> None:
    definitions, clock = Definitions(), HandClock()
    define(definitions, key())
    token = make_token(key(), clock.us)
    define(definitions, msgspec.structs.replace(key(), revoked_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    assert key_of_token(definitions, token, clock.us) is None


def test_a_token_tells_nothing_and_cannot_be_made_up() -> None:
    definitions, clock = Definitions(), HandClock()
    define(definitions, key(), key(name="k2", text="another-key-0123456789"))
    token = make_token(key(), clock.us)
    assert TEXT not in token and key().sha256 not in base64.urlsafe_b64decode(token.split(".")[0] + "==").decode()
    payload, signature = token.split(".")
    later = base64.urlsafe_b64encode(msgspec.json.encode(("acme", "k1", clock.us // 1_000_000 // SLOT_S + 1))).rstrip(b"=").decode()
    other = base64.urlsafe_b64encode(msgspec.json.encode(("acme", "k2", clock.us // 1_000_000 // SLOT_S))).rstrip(b"=").decode()
    for forged in (f"{later}.{signature}", f"{other}.{signature}", f"{payload}.", f"{payload}.{signature[:-2]}"):
        assert key_of_token(definitions, forged, clock.us) is None, forged


@pytest.mark.parametrize("text", ["", ".", "x", "ä.ö", "e30.e30", "a.b.c", "W10.", "A" * 10_000, TEXT])
def test_any_text_may_come(text: str) -> None:
    assert key_of_token(Definitions(), text, 1) is None

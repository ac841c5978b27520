"""Sessions: a token that stands for a key in one cookie, and which requests it does not count for."""

import datetime as dt

import msgspec
import pytest

from schemas.definitions import Definitions
from schemas.session import LIFETIME_S, cookie_value, from_elsewhere, key_of_session, open_session
from schemas.signed_token import key_of_token, make_token
from tests.clock import HandClock
from tests.unit.ingest.evaluation_support import define, key

COOKIE = "_page_key"


def test_a_session_lasts_so_long_and_ends_with_its_key() -> None:
    """crucible.auth.session_cookie"""
    definitions, clock = Definitions(), HandClock()
    define(definitions, key())
    token, until_s = open_session(key(), COOKIE, clock.us)
    assert until_s == clock.us // 1_000_000 + LIFETIME_S
    clock.us = until_s * 1_000_000 - 1
    assert key_of_session(definitions, token, COOKIE, clock.us) == key()
    define(definitions, msgspec.structs.replace(key(), revoked_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    assert key_of_session(definitions, token, COOKIE, clock.us) is None
    define(definitions, key())
    clock.us += 1
    assert key_of_session(definitions, token, COOKIE, clock.us) is None


def test_a_token_is_for_one_purpose_and_for_what_it_says() -> None:
    definitions, clock = Definitions(), HandClock()
    define(definitions, key(), key(name="k2", text="another-key-0123456789"))
    token, until_s = open_session(key(), COOKIE, clock.us)
    assert key_of_session(definitions, token, "_other_key", clock.us) is None
    assert key_of_token(definitions, make_token(key(), "flag stream", until_s), f"session {COOKIE}", clock.us) is None
    payload, signature = token.split(".")
    longer = make_token(key(), "x", until_s + 1).split(".")[0]
    other = make_token(key(name="k2"), "x", until_s).split(".")[0]
    for forged in (f"{longer}.{signature}", f"{other}.{signature}", f"{payload}.", f"{payload}.{signature[:-2]}", payload, f"{signature}.{payload}", "", "ä.ö"):
        assert key_of_session(definitions, forged, COOKIE, clock.us) is None, forged


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("", ""),
        ("_page_key=a.b", "a.b"),
        ("x=1; _page_key=a.b; y=2", "a.b"),
        ("x=1;_page_key = a.b", "a.b"),
        ("my_page_key=a; _page_keys=b; _PAGE_KEY=c", ""),
        ("_page_key=a; _page_key=b", "a"),
        ("_page_key=a=b", "a=b"),
        ("_page_key", ""),
    ],
)
def test_a_cookie_is_found_by_its_whole_name(header: str, value: str) -> None:
    assert cookie_value(header, COOKIE) == value


@pytest.mark.parametrize(
    ("origin", "fetch_site", "hosts", "elsewhere"),
    [
        ("", "", ["here"], False),
        ("", "same-origin", ["here"], False),
        ("", "none", ["here"], False),
        ("", "cross-site", ["here"], True),
        ("https://here", "cross-site", ["here"], True),
        ("https://here", "", ["here"], False),
        ("https://HERE", "", ["Here"], False),
        ("http://here:4000", "", ["here:4000"], False),
        ("http://here:4001", "", ["here:4000"], True),
        ("http://here", "", ["inner:9", "here"], False),
        ("http://there", "same-origin", ["here"], True),
        ("http://here.there", "", ["here"], True),
        ("http://[::1]:4000", "", ["[::1]:4000"], False),
        ("http://[::1", "", ["[::1"], True),
        ("null", "", ["here"], True),
        ("null", "", ["", "null"], True),
    ],
)
def test_what_a_page_of_another_host_sent_is_known(origin: str, fetch_site: str, hosts: list[str], elsewhere: bool) -> None:
    assert from_elsewhere(origin, fetch_site, hosts) is elsewhere

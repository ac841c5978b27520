"""Who may come in, and how much at once."""

import datetime as dt

import msgspec
import pytest
from starlette.requests import HTTPConnection

from infra.runtime.clock import SystemClock
from infra.runtime.errors import Forbidden, Overloaded, Unauthenticated, Unavailable
from infra.runtime.settings import IngestSettings, Settings
from ingest.admission import Admission, key_text
from query_api.access import Access
from schemas.api_keys import hash_secret
from schemas.definition_kinds import ControlRecord, Key, Role, encode_definition
from schemas.definitions import Definitions
from schemas.session import open_session
from tests.clock import HandClock

TEXT = "some-key-0123456789abcdef"


def admission(role: Role = "ingest", **ingest: object) -> Admission:
    definitions = Definitions()
    key = Key(tenant="acme", id="k1", name="one", sha256=hash_secret(TEXT), role=role)
    definitions.apply(ControlRecord("key", "acme", "k1", 1, False, encode_definition(key), 1))
    return Admission(definitions, Settings(ingest=IngestSettings(**ingest)), SystemClock())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, ""),
        ({"authorization": "Bearer abc"}, "abc"),
        ({"authorization": "bearer  abc "}, "abc"),
        ({"authorization": "Basic abc", "api-key": "x"}, "x"),
        ({"x-api-key": "y"}, "y"),
        ({"authorization": "Bearer a", "api-key": "b", "x-api-key": "c"}, "a"),
    ],
)
def test_where_a_key_is_looked_for(headers: dict[str, str], text: str) -> None:
    assert key_text(headers) == text


@pytest.mark.parametrize("header", ["authorization", "api-key", "x-api-key"])
def test_the_tenant_comes_from_the_key(header: str) -> None:
    value = f"Bearer {TEXT}" if header == "authorization" else TEXT
    caller = admission().authenticate({header: value}, "10.0.0.1")
    assert (caller.tenant, caller.key_id) == ("acme", "k1")


@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_keyless_from_this_machine_belongs_to_the_default_tenant(client: str) -> None:
    caller = admission().authenticate({}, client, keyless=True)
    assert (caller.tenant, caller.key_id) == ("default", "")


@pytest.mark.parametrize(
    ("headers", "client", "keyless"),
    [
        ({}, "127.0.0.1", False),
        ({}, "10.0.0.1", True),
        ({}, "not an address", True),
        ({"api-key": "wrong"}, "127.0.0.1", True),
        ({"authorization": "Bearer wrong"}, "127.0.0.1", False),
    ],
)
def test_everything_else_is_refused(headers: dict[str, str], client: str, keyless: bool) -> None:
    with pytest.raises(Unauthenticated):
        admission().authenticate(headers, client, keyless=keyless)


def test_keyless_can_be_turned_off() -> None:
    with pytest.raises(Unauthenticated):
        admission(keyless_otlp_from_loopback=False).authenticate({}, "127.0.0.1", keyless=True)


def test_a_reading_key_may_not_send() -> None:
    with pytest.raises(Forbidden):
        admission("read").authenticate({"api-key": TEXT}, "10.0.0.1")


def test_a_key_counts_as_long_as_it_is_valid_and_with_the_role_it_has_now() -> None:
    definitions, clock = Definitions(), HandClock()
    gate = Admission(definitions, Settings(), clock)
    end = dt.datetime.fromtimestamp(clock.now_us() // 1_000_000 + 1, dt.UTC)
    key = Key(tenant="acme", id="k1", name="one", sha256=hash_secret(TEXT), role="ingest", expires_at=end)

    def define(version: int, value: Key) -> None:
        definitions.apply(ControlRecord("key", "acme", "k1", version, False, encode_definition(value), 1))

    define(1, key)
    assert gate.authenticate({"api-key": TEXT}, "10.0.0.1").tenant == "acme"
    define(2, msgspec.structs.replace(key, role="read"))
    with pytest.raises(Forbidden):
        gate.authenticate({"api-key": TEXT}, "10.0.0.1")
    define(3, key)
    assert gate.authenticate({"api-key": TEXT}, "10.0.0.1").may_send
    clock.forward(1)
    with pytest.raises(Unauthenticated):
        gate.authenticate({"api-key": TEXT}, "10.0.0.1")
    define(4, msgspec.structs.replace(key, expires_at=None))
    assert gate.authenticate({"api-key": TEXT}, "10.0.0.1").may_send
    define(5, msgspec.structs.replace(key, expires_at=None, revoked_at=end))
    with pytest.raises(Unauthenticated):
        gate.authenticate({"api-key": TEXT}, "10.0.0.1")


def test_bytes_in_flight_are_bounded_and_given_back() -> None:
    gate = admission(max_in_flight_bytes=100)
    with gate.reserve(60):
        assert gate.in_flight_bytes == 60
        with pytest.raises(Overloaded), gate.reserve(41):
            pass
        with gate.reserve(40):
            assert gate.in_flight_bytes == 100
    with pytest.raises(KeyError), gate.reserve(100):
        raise KeyError
    assert gate.in_flight_bytes == 0


def test_a_key_that_may_only_not_have_been_read_yet_is_not_called_unknown() -> None:
    read = False
    definitions = Definitions()
    gate = Admission(definitions, Settings(), SystemClock(), complete=lambda: read)
    with pytest.raises(Unavailable):
        gate.identify({"api-key": TEXT}, "10.0.0.1")
    key = Key(tenant="acme", id="k1", name="one", sha256=hash_secret(TEXT), role="ingest")
    definitions.apply(ControlRecord("key", "acme", "k1", 1, False, encode_definition(key), 1))
    assert gate.identify({"api-key": TEXT}, "10.0.0.1").tenant == "acme"
    read = True
    with pytest.raises(Unauthenticated):
        gate.identify({"api-key": "mlst_another"}, "10.0.0.1")


COOKIE = "_page_key"


def paged(role: Role = "ingest") -> tuple[Admission, str]:
    """An admission and the `Cookie` header of a session there."""
    key = Key(tenant="acme", id="k1", name="one", sha256=hash_secret(TEXT), role=role)
    return admission(role), f"theme=dark; {COOKIE}={open_session(key, COOKIE, SystemClock().now_us())[0]}"


def test_a_session_stands_for_its_key_where_its_cookie_counts() -> None:
    """crucible.auth.session_cookie"""
    gate, cookie = paged("read")
    caller = gate.identify({"cookie": cookie}, "10.0.0.1", cookie=COOKIE)
    assert caller == gate.identify({"api-key": TEXT}, "10.0.0.1") and not caller.may_send
    assert gate.recognise([(b"cookie", cookie.encode())], COOKIE) == caller
    for name in ("", "_other_key"):
        assert gate.recognise([(b"cookie", cookie.encode())], name) is None
        with pytest.raises(Unauthenticated):
            gate.identify({"cookie": cookie}, "10.0.0.1", cookie=name)


@pytest.mark.parametrize("headers", [{"authorization": "Bearer wrong"}, {"api-key": "wrong"}, {"x-api-key": "wrong"}, {"authorization": "Basic YTpi"}])
def test_a_key_wins_over_a_session_even_a_wrong_one(headers: dict[str, str]) -> None:
    gate, cookie = paged()
    with pytest.raises(Unauthenticated):
        gate.identify({"cookie": cookie, **headers}, "10.0.0.1", cookie=COOKIE)
    raw = [(name.encode(), value.encode()) for name, value in {"cookie": cookie, **headers}.items()]
    assert gate.recognise(raw, COOKIE) is None


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", f"Bearer {TEXT}"), ("authorization", "Bearer wrong")],
        [("api-key", TEXT), ("api-key", "wrong")],
        [("cookie", "{session}"), ("cookie", f"{COOKIE}=x.y")],
        [("cookie", "{session}"), ("authorization", "")],
    ],
)
def test_who_the_query_service_lets_in_is_who_is_counted(headers: list[tuple[str, str]]) -> None:
    gate, cookie = paged()
    raw = [(name.encode(), value.replace("{session}", cookie).encode()) for name, value in headers]
    asked = HTTPConnection({"type": "http", "method": "GET", "headers": raw})
    let_in = Access(Settings(), gate._definitions, SystemClock()).known(asked, keyless=False, cookie=COOKIE)
    counted = gate.recognise(raw, COOKIE)
    assert let_in.key_id == "k1" and counted is not None and counted.key_id == "k1"


def test_a_session_that_was_tampered_with_is_over() -> None:
    gate, cookie = paged()
    for wrong in (cookie[:-3], f"{COOKIE}=x.y", f"{COOKIE}={TEXT}"):
        with pytest.raises(Unauthenticated):
            gate.identify({"cookie": wrong}, "10.0.0.1", cookie=COOKIE)
        assert gate.recognise([(b"cookie", wrong.encode())], COOKIE) is None


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "here:4000", "origin": "http://here:4000"}, True),
        ({"host": "inner", "x-forwarded-host": "here", "origin": "https://here"}, True),
        ({"host": "here:4000", "origin": "http://evil"}, False),
        ({"host": "here:4000", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_a_session_does_not_count_for_a_page_of_another_host(headers: dict[str, str], allowed: bool) -> None:
    gate, cookie = paged()
    if allowed:
        assert gate.identify({"cookie": cookie, **headers}, "10.0.0.1", cookie=COOKIE).tenant == "acme"
    else:
        with pytest.raises(Forbidden):
            gate.identify({"cookie": cookie, **headers}, "10.0.0.1", cookie=COOKIE)
    assert gate.identify({"cookie": cookie, **headers, "api-key": TEXT}, "10.0.0.1", cookie=COOKIE).tenant == "acme"

"""Who a request acts for."""

import pytest
from starlette.requests import HTTPConnection

from infra.runtime.errors import Forbidden, Unauthenticated
from infra.runtime.settings import IngestSettings, Settings
from query_api.access import Access, from_loopback, key_text
from tests.unit.query_api.parts import INGEST_KEY, OTHER_KEY, READ_KEY, HandClock, known_keys


def request(peer: str | None = "127.0.0.1", **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "headers": raw, "client": (peer, 1) if peer else None})


def access(**ingest: bool) -> Access:
    settings = Settings(ingest=IngestSettings(**ingest))  # type: ignore[arg-type]
    return Access(settings, known_keys(), HandClock())


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {READ_KEY}"}, {"authorization": f"bearer  {READ_KEY}"}, {"api_key": READ_KEY}, {"x_api_key": READ_KEY}]
)
def test_a_key_is_found_in_each_header(headers: dict[str, str]) -> None:
    assert access().identify(request("192.0.2.1", **headers), "read", keyless=False).tenant == "default"


@pytest.mark.parametrize("value", ["Basic abc", "Bearer", "Bearer ", READ_KEY])
def test_another_scheme_is_refused_and_not_ignored(value: str) -> None:
    with pytest.raises(Unauthenticated):
        key_text({"authorization": value, "api-key": READ_KEY})


def test_the_tenant_is_that_of_the_key() -> None:
    assert access().with_key(OTHER_KEY, "read").tenant == "other"


def test_unknown_and_unfit_keys() -> None:
    with pytest.raises(Unauthenticated):
        access().with_key("guess", "read")
    with pytest.raises(Forbidden):
        access().with_key(INGEST_KEY, "read")


def test_the_key_is_not_shown() -> None:
    assert READ_KEY not in repr(access().with_key(READ_KEY, "read"))


def test_keyless_only_from_this_machine_where_the_surface_and_the_setting_allow_it() -> None:
    assert access().identify(request(), "read", keyless=True).tenant == "default"
    with pytest.raises(Unauthenticated):
        access().identify(request(), "read", keyless=False)
    with pytest.raises(Unauthenticated):
        access(keyless_otlp_from_loopback=False).identify(request(), "read", keyless=True)
    with pytest.raises(Unauthenticated):
        access().identify(request("192.0.2.1"), "read", keyless=True)
    with pytest.raises(Unauthenticated):
        access().identify(request(api_key="wrong"), "read", keyless=True)


@pytest.mark.parametrize(
    ("peer", "forwarded", "local"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("::ffff:127.0.0.1", "", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "203.0.113.9", False),
        ("127.0.0.1", "127.0.0.1, 203.0.113.9", False),
        ("203.0.113.9", "127.0.0.1", False),
        ("127.0.0.1", "localhost", False),
        (None, "", False),
    ],
)
def test_a_forwarded_address_can_only_take_trust_away(peer: str | None, forwarded: str, local: bool) -> None:
    headers = {"x_forwarded_for": forwarded} if forwarded else {}
    assert from_loopback(request(peer, **headers)) is local


def test_every_forwarding_header_counts() -> None:
    raw = [(b"x-forwarded-for", b"127.0.0.1"), (b"x-forwarded-for", b"203.0.113.9")]
    assert not from_loopback(HTTPConnection({"type": "http", "headers": raw, "client": ("127.0.0.1", 1)}))


def test_a_permission_comes_with_who_calls() -> None:
    caller = access().allowed(request("192.0.2.1", api_key=READ_KEY), "results:read", keyless=False)
    assert (caller.tenant, caller.key_id, caller.role, caller.user, caller.actor) == ("default", "k0", "read", "", ("k0", "k", ""))
    with pytest.raises(Forbidden, match="flags:write, which the roles admin, developer have; this API key has the role read$") as refused:
        access().allowed(request("192.0.2.1", api_key=READ_KEY), "flags:write", keyless=False)
    assert refused.value.details == {"permission": "flags:write", "roles": ["admin", "developer"]}
    with pytest.raises(Unauthenticated):
        access().allowed(request(), "results:read", keyless=False)
    keyless = access().allowed(request(), "datasets:write", keyless=True)
    assert (keyless.tenant, keyless.role, keyless.operator) == ("default", "admin", False)

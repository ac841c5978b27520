"""Sessions of browsers: a cookie that stands for an API key on one surface, so that its pages need not hold the key.

A browser sends cookies whoever asks it to. So what a page of another host has sent does not count as the session's, unless it only reads: that page
does not get to see the answer.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from schemas.definition_kinds import Key
from schemas.definitions import Definitions
from schemas.signed_token import key_of_token, make_token

LIFETIME_S: Final = 12 * 3_600
"""How long a session lasts, in seconds."""
READING: Final = frozenset(("GET", "HEAD"))
"""Methods that change nothing."""
FROM_ELSEWHERE: Final = (
    "A session does not count for what a page of another host sends. Send it from a page of this host, or with an API key: `Authorization: Bearer KEY`."
)


def open_session(key: Key, cookie: str, now_us: int) -> tuple[str, int]:
    """The token of a new session, which is the value of the surface's cookie, and the second since the epoch with which it ends."""
    until_s = now_us // 1_000_000 + LIFETIME_S
    return make_token(key, _purpose(cookie), until_s), until_s


def key_of_session(definitions: Definitions, token: str, cookie: str, now_us: int) -> Key | None:
    """The key of a session; None when it is over or made up, belongs to another cookie, or the key is no longer valid."""
    return key_of_token(definitions, token, _purpose(cookie), now_us)


def cookie_value(header: str, name: str) -> str:
    """The value of a cookie in a `Cookie` header, the first one of several; empty when there is none."""
    pairs = (pair.partition("=") for pair in header.split(";"))
    return next((value.strip() for found, _, value in pairs if found.strip() == name), "")


def from_elsewhere(origin: str, fetch_site: str, hosts: Iterable[str]) -> bool:
    """Whether a page of another host sent the request, by its headers `Origin` and `Sec-Fetch-Site`, each empty when absent.

    `hosts` are those it was sent to, as `Host` and `X-Forwarded-Host` name them. A page can set none of these headers of a request to another host.
    """
    if fetch_site == "cross-site":
        return True
    return bool(origin) and _place(origin) not in {host.strip().lower() for host in hosts if host.strip()}


def _place(origin: str) -> str:
    """Host and port as `Host` has them; empty for an origin that hides itself."""
    try:
        return urlsplit(origin.strip().lower()).netloc
    except ValueError:
        return ""


def _purpose(cookie: str) -> str:
    return f"session {cookie}"

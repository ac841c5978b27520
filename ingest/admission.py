"""Who may come in, and how much at once."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

import msgspec

from infra.runtime.clock import Clock
from infra.runtime.errors import Forbidden, Overloaded, Unauthenticated, Unavailable
from infra.runtime.settings import Settings
from ingest.key_usage import KeyUsage
from schemas.definitions import Definitions, Key
from schemas.session import FROM_ELSEWHERE, cookie_value, from_elsewhere, key_of_session

_CALLER_HEADERS = frozenset((b"authorization", b"api-key", b"x-api-key", b"cookie"))


class Caller(msgspec.Struct, frozen=True):
    """The tenant on whose behalf a request comes, and the key it came with."""

    tenant: str
    key_id: str
    """Empty for keyless OTLP from this machine."""
    tier: str = ""
    """Tier of the key; empty without one."""
    may_send: bool = True

    def check_may_send(self) -> None:
        """Raise Forbidden when the key may not send data."""
        if not self.may_send:
            raise Forbidden("The API key may not send data; it needs the scope `ingest`.")

    def check_may_evaluate(self) -> None:
        """Raise Forbidden when the key may not ask for variations and assignments, which are stored as exposures."""
        if not self.may_send:
            raise Forbidden("The API key may not evaluate, because evaluating records exposures; it needs the scope `ingest`.")


def key_text(headers: Mapping[str, str]) -> str:
    """The API key of a request, from `Authorization: Bearer`, `api-key` or `X-API-Key`; empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("api-key") or headers.get("x-api-key") or ""


def _session_token(headers: Mapping[str, str], cookie: str) -> str:
    """Empty beside an `Authorization` that says anything: what is said explicitly counts or is refused."""
    return "" if headers.get("authorization", "").strip() else cookie_value(headers.get("cookie", ""), cookie)


def caller_of(key: Key) -> Caller:
    """The caller who comes with a valid key."""
    return Caller(key.tenant, key.id, key.tier, key.allows("ingest"))


def _loopback(client: str) -> bool:
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


class _Budget(msgspec.Struct):
    """Bytes that the requests being worked on may hold together."""

    limit: int
    held: int = 0


class _Reservation:
    """What one request holds. No generator with `contextmanager`, which costs more than twice as much."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: _Budget, size: int) -> None:
        self._budget = budget
        self._size = size

    def __enter__(self) -> None:
        if self._budget.held + self._size > self._budget.limit:
            raise Overloaded("Too many bytes are in flight. Nothing was stored; try again.", retry_after_s=1)
        self._budget.held += self._size

    def __exit__(self, *_: object) -> None:
        self._budget.held -= self._size


class Admission:
    """Checks keys against the definitions followed from the control topic, and bounds the bytes in flight."""

    def __init__(
        self, definitions: Definitions, settings: Settings, clock: Clock, usage: KeyUsage | None = None, complete: Callable[[], bool] = lambda: True
    ) -> None:
        """`usage` is told of every valid key that comes; `complete` says whether the definitions that were there at the start have been read."""
        self._complete = complete
        self._definitions = definitions
        self._settings = settings
        self._clock = clock
        self._usage = usage
        self._budget = _Budget(settings.ingest.max_in_flight_bytes)
        # Keys as they came, valid ones only and in memory alone: hashing one anew costs more than parsing the event it comes with.
        self._callers: dict[str, tuple[Key, Caller]] = {}
        definitions.on_change(lambda _: self._callers.clear())

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of requests being worked on now."""
        return self._budget.held

    def authenticate(self, headers: Mapping[str, str], client: str, *, keyless: bool = False) -> Caller:
        """`identify`, and Forbidden when the key may not send data."""
        caller = self.identify(headers, client, keyless=keyless)
        caller.check_may_send()
        return caller

    def identify(self, headers: Mapping[str, str], client: str, *, keyless: bool = False, cookie: str = "") -> Caller:
        """The caller of a request that changes something. Raises Unauthenticated without a valid key, and Unavailable while a key may be unknown only
        because it was not read yet.

        With `keyless`, a request without any key that comes from this machine belongs to the default tenant, where the
        settings allow it; a wrong key is refused all the same. With `cookie`, the name of one, a session in that cookie counts where no key came;
        raises Forbidden when a page of another host sent it.
        """
        text = key_text(headers)
        if not text:
            if cookie and (token := _session_token(headers, cookie)):
                return self._of_page(headers, token, cookie)
            if keyless and self._settings.ingest.keyless_otlp_from_loopback and _loopback(client):
                return Caller(self._settings.default_tenant, "")
            raise Unauthenticated("Send an API key: `Authorization: Bearer KEY`, `api-key: KEY` or `X-API-Key: KEY`.")
        caller = self._known(text)
        if caller is not None:
            return caller
        raise self._unknown("The API key is unknown, expired or revoked.")

    def recognise(self, headers: Iterable[tuple[bytes, bytes]], cookie: str = "") -> Caller | None:
        """The caller of a request that the query service will judge, from its raw headers; None without a valid key or session."""
        given: dict[str, str] = {}
        for name, value in headers:
            if name in _CALLER_HEADERS:
                # The first of several counts, as in the query service: else the caller it lets in would not be the one who is counted.
                given.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        text = key_text(given)
        if text:
            return self._known(text)
        token = _session_token(given, cookie) if cookie else ""
        return self._of_session(token, cookie) if token else None

    def _of_page(self, headers: Mapping[str, str], token: str, cookie: str) -> Caller:
        hosts = (headers.get("host", ""), *headers.get("x-forwarded-host", "").split(","))
        if from_elsewhere(headers.get("origin", ""), headers.get("sec-fetch-site", ""), hosts):
            raise Forbidden(FROM_ELSEWHERE)
        caller = self._of_session(token, cookie)
        if caller is None:
            raise self._unknown("The session is over. Open another with an API key.")
        return caller

    def _unknown(self, problem: str) -> Unauthenticated | Unavailable:
        if self._complete():
            return Unauthenticated(problem)
        return Unavailable("The API keys have not been read yet. Nothing was stored; try again.", retry_after_s=1)

    def _of_session(self, token: str, cookie: str) -> Caller | None:
        now = self._clock.now_us()
        key = key_of_session(self._definitions, token, cookie, now)
        if key is None:
            return None
        self._note(key, now)
        return caller_of(key)

    def _known(self, text: str) -> Caller | None:
        now = self._clock.now_us()
        known = self._callers.get(text)
        if known is None:
            key = self._definitions.key_for(text, now)
            if key is None:
                return None
            known = self._callers[text] = (key, caller_of(key))
        key, caller = known
        if not key.valid_at(now):
            return None
        self._note(key, now)
        return caller

    def _note(self, key: Key, now: int) -> None:
        if self._usage is not None:
            self._usage.note(key.tenant, key.id, now)

    def reserve(self, size: int) -> AbstractContextManager[None]:
        """Hold `size` bytes of the budget for the duration of a request. Entering raises Overloaded when it is used up."""
        return _Reservation(self._budget, size)

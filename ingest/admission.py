"""Who may come in, and how much at once."""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from infra.runtime.clock import Clock
from infra.runtime.errors import Forbidden, Overloaded, Unauthenticated
from infra.runtime.settings import Settings
from schemas.definitions import Definitions


@dataclass(frozen=True)
class Caller:
    """The tenant on whose behalf a request comes, and the key it came with."""

    tenant: str
    key_id: str
    """Empty for keyless OTLP from this machine."""


def key_text(headers: Mapping[str, str]) -> str:
    """The API key of a request, from `Authorization: Bearer`, `api-key` or `X-API-Key`; empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("api-key") or headers.get("x-api-key") or ""


def _loopback(client: str) -> bool:
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


class Admission:
    """Checks keys against the definitions followed from the control topic, and bounds the bytes in flight."""

    def __init__(self, definitions: Definitions, settings: Settings, clock: Clock) -> None:
        self._definitions = definitions
        self._settings = settings
        self._clock = clock
        self._in_flight = 0

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of requests being worked on now."""
        return self._in_flight

    def authenticate(self, headers: Mapping[str, str], client: str, *, keyless: bool = False) -> Caller:
        """The caller of a request. Raises Unauthenticated without a valid key, Forbidden when the key may not send data.

        With `keyless`, a request without any key that comes from this machine belongs to the default tenant, where the
        settings allow it; a wrong key is refused all the same.
        """
        text = key_text(headers)
        if not text:
            if keyless and self._settings.ingest.keyless_otlp_from_loopback and _loopback(client):
                return Caller(self._settings.default_tenant, "")
            raise Unauthenticated("Send an API key: `Authorization: Bearer KEY`, `api-key: KEY` or `X-API-Key: KEY`.")
        key = self._definitions.key_for(text, self._clock.now_us())
        if key is None:
            raise Unauthenticated("The API key is unknown, expired or revoked.")
        if not key.allows("ingest"):
            raise Forbidden("The API key may not send data; it needs the scope `ingest`.")
        return Caller(key.tenant, key.id)

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Hold `size` bytes of the budget for the duration of a request. Raises Overloaded when it is used up."""
        if self._in_flight + size > self._settings.ingest.max_in_flight_bytes:
            raise Overloaded("Too many bytes are in flight. Nothing was stored; try again.", retry_after_s=1)
        self._in_flight += size
        try:
            yield
        finally:
            self._in_flight -= size

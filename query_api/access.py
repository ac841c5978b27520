"""Who is calling: the tenant comes from the API key, or from the session that was opened with one, and from nothing else."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from infra.runtime.clock import Clock
from infra.runtime.errors import Forbidden, Unauthenticated, Unavailable
from infra.runtime.settings import Settings
from query_api.control.audit import Actor
from schemas.definition_kinds import Key, Role, Scope, Tier
from schemas.definitions import Definitions
from schemas.permissions import ROLE_PERMISSIONS, Permission, permissions_of, roles_with
from schemas.session import FROM_ELSEWHERE, READING, cookie_value, from_elsewhere, key_of_session, open_session


@dataclass(frozen=True)
class Caller:
    """A caller whose key was checked."""

    tenant: str
    """Every read is about this tenant."""
    key: str | None
    """The key's text, to check it again on a long connection; None for a keyless caller and for one with a session."""
    operator: bool = False
    """Whether the key administers the default tenant, and so may see what belongs to no tenant."""
    key_id: str = ""
    """Empty for a keyless caller."""
    key_name: str = ""
    role: Role = "read"
    user: str = ""
    """Id of the user whose key it is; empty for a program."""
    permissions: frozenset[Permission] = ROLE_PERMISSIONS["read"]
    tier: Tier = "unlimited"

    @property
    def actor(self) -> Actor:
        """Who the audit log names for what this caller changes."""
        return Actor(self.key_id, self.key_name, self.user)

    def needs(self, permission: Permission) -> None:
        """Raises Forbidden without the permission, naming the roles that have it."""
        if permission not in self.permissions:
            roles = roles_with(permission)
            message = f"this needs the permission {permission}, which the roles {', '.join(roles)} have; this API key has the role {self.role}"
            limited = "" if self.permissions == ROLE_PERMISSIONS[self.role] else " limited by its scopes"
            raise Forbidden(message + limited, details={"permission": permission, "roles": list(roles)})

    def __repr__(self) -> str:
        return f"Caller(tenant={self.tenant!r})"


def key_text(headers: Mapping[str, str]) -> str | None:
    """The API key a request carries: `Authorization: Bearer`, `api-key` or `X-API-Key`, in this order; None without one.

    Raises Unauthenticated for another authorization scheme, because dropping it silently would let the caller believe
    it counted.
    """
    authorization = headers.get("authorization", "").strip()
    if authorization:
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() != "bearer" or not credentials.strip():
            raise Unauthenticated("Authorization must be `Bearer <key>`")
        return credentials.strip()
    return headers.get("api-key", "").strip() or headers.get("x-api-key", "").strip() or None


class Access:
    """Checks keys against the definitions in force. Works with the control store down, since those come from Kafka."""

    def __init__(self, settings: Settings, definitions: Definitions, clock: Clock, complete: Callable[[], bool] = lambda: True) -> None:
        """`complete` says whether the definitions that were there at the start have been read."""
        self._complete = complete
        self._settings = settings
        self._definitions = definitions
        self._clock = clock

    def with_key(self, text: str, scope: Scope) -> Caller:
        """The caller a key stands for. Raises Unauthenticated for an unknown, revoked or expired key, Unavailable while a key may be unknown only
        because it was not read yet, and Forbidden when it lacks the scope."""
        key = self._key(text)
        _check_scope(key, scope)
        return self._caller(key, text)

    def identify(self, connection: HTTPConnection, scope: Scope, *, keyless: bool, cookie: str = "") -> Caller:
        """`known`, and Forbidden when the key lacks the scope."""
        shown = self._shown(connection, cookie)
        if shown is None:
            return self._without_key(connection, keyless)
        _check_scope(shown[0], scope)
        return self._caller(*shown)

    def known(self, connection: HTTPConnection, *, keyless: bool, cookie: str = "") -> Caller:
        """The caller of a request, whatever the key may do. `keyless` says whether the surface lets this machine go without a key, with every permission;
        `cookie` names the cookie whose session counts where no key came, if there is one.

        Raises Unauthenticated, and Forbidden for a session with which a page of another host would change something or open a long connection."""
        shown = self._shown(connection, cookie)
        return self._without_key(connection, keyless) if shown is None else self._caller(*shown)

    def allowed(self, connection: HTTPConnection, permission: Permission, *, keyless: bool, cookie: str = "") -> Caller:
        """`known`, and Forbidden when the caller does not have the permission."""
        caller = self.known(connection, keyless=keyless, cookie=cookie)
        caller.needs(permission)
        return caller

    def with_session(self, token: str, cookie: str) -> Caller:
        """The caller a session of this cookie stands for. Raises Unauthenticated once it is over or its key no longer valid, and for any other text."""
        return self._caller(self._key_of_session(token, cookie), None)

    def open_session(self, connection: HTTPConnection, given: str | None, cookie: str) -> tuple[str, int]:
        """A session for the holder of the key in the headers of a request or, without one there, of the key `given` in its body: its token and the second
        since the epoch with which it ends. Raises Unauthenticated, and Forbidden when a page of another host gives a key that would become this browser's."""
        text = key_text(connection.headers)
        if text is None and given and _is_from_elsewhere(connection):
            raise Forbidden(FROM_ELSEWHERE)
        text = text or given
        if not text:
            raise Unauthenticated("send an API key as `Authorization: Bearer <key>` or as `api_key` in the body; a session does not open another")
        return open_session(self._key(text), cookie, self._clock.now_us())

    def _key(self, text: str) -> Key:
        key = self._definitions.key_for(text, self._clock.now_us())
        if key is None:
            raise self._unknown("the API key is not valid; it may have been revoked or have expired")
        return key

    def _key_of_session(self, token: str, cookie: str) -> Key:
        key = key_of_session(self._definitions, token, cookie, self._clock.now_us())
        if key is None:
            raise self._unknown("the session is over; open another with an API key")
        return key

    def _shown(self, connection: HTTPConnection, cookie: str) -> tuple[Key, str | None] | None:
        """The key of a request and its text, which a session does not have; None without either."""
        text = key_text(connection.headers)
        if text is not None:
            return self._key(text), text
        token = cookie_value(connection.headers.get("cookie", ""), cookie) if cookie else ""
        if not token:
            return None
        if connection.scope.get("method") not in READING and _is_from_elsewhere(connection):
            raise Forbidden(FROM_ELSEWHERE)
        return self._key_of_session(token, cookie), None

    def _unknown(self, problem: str) -> Unauthenticated | Unavailable:
        if self._complete():
            return Unauthenticated(problem)
        return Unavailable("The API keys have not been read yet. Try again in a moment; if that lasts, Kafka cannot be reached.", retry_after_s=1)

    def _caller(self, key: Key, text: str | None) -> Caller:
        operator = key.allows("admin") and key.tenant == self._settings.default_tenant
        return Caller(key.tenant, text, operator, key.id, key.name, key.role, key.user, permissions_of(key.role, key.scopes), key.tier)

    def _without_key(self, connection: HTTPConnection, keyless: bool) -> Caller:
        if keyless and self._settings.ingest.keyless_otlp_from_loopback and from_loopback(connection):
            return Caller(self._settings.default_tenant, None, role="admin", permissions=ROLE_PERMISSIONS["admin"])
        raise Unauthenticated("send an API key as `Authorization: Bearer <key>`, `api-key` or `X-API-Key`")


def _check_scope(key: Key, scope: Scope) -> None:
    if not key.allows(scope):
        raise Forbidden(f"this API key has no {scope} scope", details={"scope": scope})


def from_loopback(connection: HTTPConnection) -> bool:
    """Whether the request began on this machine. The service stands behind ingest, which names the peer it saw in
    `X-Forwarded-For`; every address of the chain must be a loopback address, so the header can only take trust away."""
    chain = [part.strip() for line in connection.headers.getlist("x-forwarded-for") for part in line.split(",") if part.strip()]
    if connection.client is None:
        return False
    return all(_is_loopback(address) for address in (*chain, connection.client.host))


def _is_from_elsewhere(connection: HTTPConnection) -> bool:
    """Whether a page of another host sent the request. Ingest, before this service, says in `X-Forwarded-Host` which host it was sent to."""
    headers = connection.headers
    hosts = [host for name in ("host", "x-forwarded-host") for line in headers.getlist(name) for host in line.split(",")]
    return from_elsewhere(headers.get("origin", ""), headers.get("sec-fetch-site", ""), hosts)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback

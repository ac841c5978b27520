"""What routes ask for by type: the parts, the policy, the caller and the freshness a read must have.

All of it is `async` though nothing in it waits: FastAPI calls any other dependency in a thread, and each way there and back waits for its share of a busy processor.
None depends on another that only hands over a part of the application: FastAPI takes 50 us to find the arguments of each.
"""

from typing import Annotated, Any, cast

from fastapi import Depends, Header, Security
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import WithJsonSchema
from starlette.requests import HTTPConnection

from infra.runtime.errors import InvalidArgument
from query_api.access import Caller
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.surfaces.policy import Policy
from schemas.permissions import Permission
from schemas.position import decode


def _parts(connection: HTTPConnection) -> Parts:
    return cast(Parts, connection.app.state.parts)


def _policy(connection: HTTPConnection) -> Policy:
    return cast(Policy, connection.app.state.policy)


async def _shared_parts(connection: HTTPConnection) -> Parts:
    return _parts(connection)


async def _surface_policy(connection: HTTPConnection) -> Policy:
    return _policy(connection)


SharedParts = Annotated[Parts, Depends(_shared_parts)]
"""The parts of the application that serves the request."""
SurfacePolicy = Annotated[Policy, Depends(_surface_policy)]
"""The policy of the surface that serves the request."""


async def _reader(connection: HTTPConnection) -> Caller:
    policy = _policy(connection)
    return _parts(connection).access.identify(connection, "read", keyless=policy.keyless_from_loopback, cookie=policy.cookie)


_BEARER = HTTPBearer(scheme_name="api_key", description="An API key. `api-key` and `X-API-Key` headers are taken as well.", auto_error=False)
"""Only describes the header in OpenAPI; `query_api.access` reads it."""


async def _allowed(needed: SecurityScopes, connection: HTTPConnection, _: Annotated[Any, Depends(_BEARER)]) -> Caller:
    policy = _policy(connection)
    permission = cast(Permission, needed.scopes[0])
    return _parts(connection).access.allowed(connection, permission, keyless=policy.keyless_from_loopback, cookie=policy.cookie)


async def _known(connection: HTTPConnection, _: Annotated[Any, Depends(_BEARER)]) -> Caller:
    policy = _policy(connection)
    return _parts(connection).access.known(connection, keyless=policy.keyless_from_loopback, cookie=policy.cookie)


def Allowed(permission: Permission) -> Any:
    """For `Annotated[Caller, Allowed("flags:write")]`: the caller, who has this permission; OpenAPI names it as a scope of the operation."""
    return Security(_allowed, scopes=[permission])


async def _wait(
    connection: HTTPConnection,
    wait_for: Annotated[
        str | None,
        WithJsonSchema({"type": "string", "examples": ["events:0:41,events:3:7"]}),
        Header(
            alias="X-Millstream-Wait-For",
            description="Answer only when this position is visible; as an acknowledged write returned it in `X-Millstream-Position`.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        WithJsonSchema({"type": "number", "minimum": 0, "maximum": 300}),
        Header(alias="X-Millstream-Wait-Timeout", ge=0, le=300, description="Seconds to wait for that position before 504 `not_visible_yet`."),
    ] = None,
) -> Wait:
    try:
        wanted = decode(wait_for or "")
    except ValueError as error:
        raise InvalidArgument(f"X-Millstream-Wait-For: {error}") from None
    return Wait(wanted, _parts(connection).settings.query.wait_timeout_s if timeout is None else timeout)


Reader = Annotated[Caller, Depends(_reader)]
"""A caller who may read."""
Known = Annotated[Caller, Depends(_known)]
"""A caller, whatever the key may do."""
Waits = Annotated[Wait, Depends(_wait)]
"""The position the caller wants to see, if any."""

"""Every operation of the surface names a permission, and every role may do exactly what the table says."""

import re
from typing import Any, NamedTuple

import pytest

from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.mount import surface_app
from schemas.definition_kinds import Role
from schemas.permissions import PERMISSIONS, ROLE_PERMISSIONS, roles_with
from tests.unit.query_api.parts import AwayRows, make_parts
from tests.unit.query_api.stored import Service, key


class Operation(NamedTuple):
    method: str
    path: str
    permissions: list[str]


def _operations() -> list[Operation]:
    routers = next(routers for policy, routers in SURFACES if policy is EXPERIMENTATION)
    paths: dict[str, dict[str, Any]] = surface_app(EXPERIMENTATION, make_parts(AwayRows()), routers).openapi()["paths"]
    return [
        Operation(method.upper(), re.sub(r"\{\w+\}", "missing", path.removeprefix(EXPERIMENTATION.base)), described["security"][0]["api_key"])
        for path, operations in paths.items()
        for method, described in operations.items()
    ]


OPERATIONS = _operations()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
async def test_every_role_may_do_what_the_table_says(service: Service, operation: Operation) -> None:
    (permission,) = operation.permissions
    assert permission in PERMISSIONS
    for role, held in ROLE_PERMISSIONS.items():
        answer = await service.ask(operation.method, operation.path, role, body={} if operation.method != "GET" else None)
        refused = answer.status_code == 403 and answer.json()["error"]["details"].get("permission") == permission
        assert refused == (permission not in held), (role, answer.text)
    assert (await service.ask(operation.method, operation.path, None)).status_code == 401


def test_operations_need_every_permission() -> None:
    elsewhere = {name for name in PERMISSIONS if name.startswith(("traces:", "datasets:", "prompts:", "evaluations:", "telemetry:", "models:"))}
    assert {operation.permissions[0] for operation in OPERATIONS} == set(PERMISSIONS) - elsewhere


async def test_a_refusal_names_the_permission_and_who_has_it(service: Service) -> None:
    error = (await service.ask("GET", "/audit-log", "viewer")).json()["error"]
    assert error["code"] == "FORBIDDEN"
    assert error["details"] == {"permission": "audit:read", "roles": list(roles_with("audit:read"))}
    assert all(role in error["message"] for role in ("admin", "analyst", "developer", "viewer"))


async def test_a_role_limited_by_scopes_is_told_so(service: Service) -> None:
    await service.define(key("narrow", "admin", scopes=("read",)))
    error = (await service.ask("POST", "/users", "narrow", {})).json()["error"]
    assert error["message"].endswith("this API key has the role admin limited by its scopes")


@pytest.mark.parametrize("role", ROLE_PERMISSIONS)
async def test_the_doors_stand_beside_the_service(service: Service, role: Role) -> None:
    if "flags:evaluate" in ROLE_PERMISSIONS[role]:
        answer = await service.ask("GET", "/feature-flags/evaluate?key=a&user_id=u", role)
        assert answer.status_code == 404 and "ingest service" in answer.json()["error"]["message"]

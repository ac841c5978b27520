"""A query service with a store, without runs and without an engine that could read telemetry, asked on the crucible surface."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.runtime.errors import Unavailable
from tests.unit.query_api.parts import ScriptedRows
from tests.unit.query_api.stored import Service, start

Ask = Callable[..., Awaitable[httpx.Response]]


def _no_runs(sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "FROM telemetry" in sql:
        raise Unavailable("ClickHouse cannot be reached; try again", retry_after_s=1)
    return [{"total": 0}] if "count() AS total" in sql else []


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """One for each test."""
    service = await start(tmp_path, ScriptedRows(_no_runs))
    yield service
    await service.parts.control.close()


@pytest.fixture
def ask(service: Service) -> Ask:
    """`await ask("GET", "/experiments", "member", body)`: with the key of that name, `admin` unless told; None for no key."""

    async def asked(method: str, path: str, key: str | None = "admin", body: Any = None, **more: Any) -> httpx.Response:
        return await service.ask(method, f"http://query/crucible/api/v1{path}", key, body, **more)

    return asked

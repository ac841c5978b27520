"""A query service with a store, asked on the crucible surface."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.unit.query_api.stored import Service

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def ask(service: Service) -> Ask:
    """`await ask("GET", "/experiments", "member", body)`: with the key of that name, `admin` unless told; None for no key."""

    async def asked(method: str, path: str, key: str | None = "admin", body: Any = None, **more: Any) -> httpx.Response:
        return await service.ask(method, f"http://query/crucible/api/v1{path}", key, body, **more)

    return asked

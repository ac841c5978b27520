"""A query service with a store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.query_api.stored import Service, start


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """One for each test."""
    service = await start(tmp_path)
    yield service
    await service.parts.control.close()

"""One stack for the tests that break it; each test gets it whole."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults.oracle import METRICS
from tests.flow.stack import LiveStack


@pytest.fixture(scope="session")
def breakable() -> Iterator[LiveStack]:
    """A running platform whose parts may be killed."""
    with LiveStack() as stack:
        stack.define(*METRICS)
        yield stack


@pytest.fixture
async def stack(breakable: LiveStack) -> AsyncIterator[LiveStack]:
    """The platform with everything running and one worker, whatever the test before left."""
    await asyncio.to_thread(breakable.heal)
    yield breakable

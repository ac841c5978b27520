"""One live stack for all tests that leave it whole."""

from collections.abc import Iterator

import pytest

from tests.flow.stack import LiveStack


@pytest.fixture(scope="session")
def live() -> Iterator[LiveStack]:
    """A running platform with one worker. Tests keep apart by experiment, service and trace ids; none of them stops a part."""
    with LiveStack() as stack:
        yield stack

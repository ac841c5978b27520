"""The live stack, for clients that know nothing of this repository."""

import pytest

from tests.flow.stack import LiveStack, shared_stack


@pytest.fixture(scope="session")
def live() -> LiveStack:
    """A running platform with one worker. Tests keep apart by experiment, service and trace ids; none of them stops a part."""
    return shared_stack()

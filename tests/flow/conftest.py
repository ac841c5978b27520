"""The live stack for all tests that leave it whole, and what tests of the LLM surface ask it with."""

import re
from collections.abc import AsyncIterator

import pytest

from tests.flow.llm_client import LlmClient, llm_client
from tests.flow.stack import LiveStack, shared_stack


@pytest.fixture(scope="session")
def live() -> LiveStack:
    """A running platform with one worker. Tests keep apart by experiment, service and trace ids; none of them stops a part."""
    return shared_stack()


@pytest.fixture
async def llm(live: LiveStack) -> AsyncIterator[LlmClient]:
    """A client whose reads see what it sent."""
    async with llm_client(live) as client:
        yield client


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """Name of a project that no other test has; spans make it."""
    # Tests of several files may have one name, and a parameter may have characters that end a path.
    return re.sub(r"[/?#%]", "-", f"{request.path.stem} {request.node.name}")

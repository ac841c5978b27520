"""What every test starts from."""

import logging
from collections.abc import Iterator

import pytest
import structlog

# Tests kill brokers on purpose; the client library's line for every attempt to reach one would bury what failed.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@pytest.fixture(autouse=True)
def _logging_as_imported() -> Iterator[None]:
    """A command under test configures logging for its process; the next test must not write to its closed streams."""
    yield
    structlog.reset_defaults()

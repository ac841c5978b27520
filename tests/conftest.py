"""What every test starts from."""

import logging
from collections.abc import Iterator

import pytest
import structlog

# Tests kill brokers on purpose; the client library's line for every attempt to reach one would bury what failed.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

_LONGEST_NAME = 100


@pytest.fixture(autouse=True)
def _logging_as_imported() -> Iterator[None]:
    """A command under test configures logging for its process; the next test must not write to its closed streams."""
    yield
    structlog.reset_defaults()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Long values are named by their length: compressed or dated ones differ between two processes, which must agree on every name."""
    return f"{type(val).__name__} of {len(val)}" if isinstance(val, str | bytes) and len(val) > _LONGEST_NAME else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where two processes share the tests, those of one stack stay together, and so do those of one file: what they share is dear to start."""
    for item in items:
        stack = next((name for name in ("live", "breakable") if name in getattr(item, "fixturenames", ())), item.location[0])
        item.add_marker(pytest.mark.xdist_group(stack))

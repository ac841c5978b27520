"""What every test starts from."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_imported() -> Iterator[None]:
    """A command under test configures logging for its process; the next test must not write to its closed streams."""
    yield
    structlog.reset_defaults()

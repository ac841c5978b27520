"""An environment of its own for gbstats, whose pins are not those of the platform."""

from pathlib import Path

import pytest

from tests.environments import environment


@pytest.fixture(scope="session")
def gbstats() -> Path:
    """The interpreter that has gbstats."""
    return environment("gbstats", Path(__file__).with_name("requirements.lock"))

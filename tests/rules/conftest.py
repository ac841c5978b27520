"""The rules judge the code, not the machine: settings of whoever runs them are left out."""

import os

import pytest


@pytest.fixture(autouse=True)
def defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from the environment."""
    for name in [name for name in os.environ if name.startswith("MILLSTREAM_")]:
        monkeypatch.delenv(name)

"""The live stack, for clients that know nothing of this repository, and the environments those clients run in."""

from pathlib import Path

import pytest

from tests.environments import environment
from tests.flow.stack import LiveStack, shared_stack


@pytest.fixture(scope="session")
def live() -> LiveStack:
    """A running platform with one worker. Tests keep apart by experiment, service and trace ids; none of them stops a part."""
    return shared_stack()


@pytest.fixture(scope="session")
def phoenix_python() -> Path:
    """The interpreter that has the Phoenix clients, its OTel and evals packages and an OpenInference instrumentor; run scripts as its subprocesses."""
    return environment("phoenix", Path(__file__).parent / "phoenix_env" / "requirements.lock")


@pytest.fixture(scope="session")
def phoenix_evals_2_python() -> Path:
    """The interpreter that has the last Phoenix evals with `llm_classify`, which the newest has no more."""
    return environment("phoenix-evals-2", Path(__file__).parent / "phoenix_evals_env" / "requirements.lock")

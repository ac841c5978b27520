"""The tutorials do what they say, run as a reader runs them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment
from tests.flow.stack import KEY, LiveStack
from tests.rules.source import ROOT


def _script(page: str) -> str:
    """What the reader of a page types."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", (ROOT / "infra" / "docs" / page).read_text("utf-8"), re.DOTALL))


@pytest.mark.timeout(180)
def test_the_experiment_tutorial(live: LiveStack) -> None:
    script = _script("tutorial-experiment.md")
    env = {**os.environ, "API": f"{live.url('experimentation')}/api/v1", "KEY": KEY}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "ACTIVE" and lines[-1] == "COMPLETED"
    assert lines[-2] == "experiment.guardrail_tripped"
    assert any(line.endswith("events stored") for line in lines)


@pytest.mark.timeout(180)
def test_the_tracing_tutorial(live: LiveStack, tmp_path: Path) -> None:
    python = environment("phoenix", ROOT / "tests" / "clients" / "phoenix_env" / "requirements.lock")
    env = {**os.environ, "BASE": live.url("llm"), "PHOENIX_API_KEY": KEY, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", _script("tutorial-llm.md")], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "no-apology" and "match match no_match no_match" in lines
    assert lines[-4] == "12 0 12" and lines[-3:] == ["0.5", lines[-2], "True"]

"""The tutorials do what they say, run as a reader runs them."""

import os
import re
import subprocess

import pytest

from tests.flow.stack import KEY, LiveStack
from tests.rules.source import ROOT


@pytest.mark.timeout(180)
def test_the_experiment_tutorial(live: LiveStack) -> None:
    page = (ROOT / "infra" / "docs" / "tutorial-experiment.md").read_text("utf-8")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    env = {**os.environ, "API": f"{live.url('experimentation')}/api/v1", "KEY": KEY}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "ACTIVE" and lines[-1] == "COMPLETED"
    assert lines[-2] == "experiment.guardrail_tripped"
    assert any(line.endswith("events stored") for line in lines)

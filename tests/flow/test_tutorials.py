"""The tutorials do what they say, run as a reader runs them."""

import json
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


def _printed(page: str, folder: Path, **env: str) -> list[str]:
    """What a reader of a page sees who follows it in this folder."""
    command = ["bash", "-euo", "pipefail", "-c", _script(page)]
    done = subprocess.run(command, env={**os.environ, **env}, cwd=folder, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(180)
def test_the_experiment_tutorial(live: LiveStack, tmp_path: Path) -> None:
    lines = _printed("tutorial-experiment.md", tmp_path, API=f"{live.url('experimentation')}/api/v1", KEY=KEY)
    assert lines[0] == "ACTIVE" and lines[-1] == "COMPLETED"
    assert lines[-2] == "experiment.guardrail_tripped"
    assert any(line.endswith("events stored") for line in lines)


@pytest.mark.timeout(180)
def test_the_tracing_tutorial(live: LiveStack, tmp_path: Path) -> None:
    python = environment("phoenix", ROOT / "tests" / "clients" / "phoenix_env" / "requirements.lock")
    path = f"{python.parent}:{os.environ['PATH']}"
    lines = _printed("tutorial-llm.md", tmp_path, BASE=live.url("llm"), PHOENIX_API_KEY=KEY, PATH=path)
    assert lines[0] == "no-apology" and "match match no_match no_match" in lines
    assert lines[-4] == "12 0 12" and lines[-3:] == ["0.5", lines[-2], "True"]


@pytest.mark.timeout(180)
def test_the_crucible_tutorial(live: LiveStack, tmp_path: Path) -> None:
    lines = iter(_printed("tutorial-crucible.md", tmp_path, API=f"{live.url('crucible')}/api/v1", KEY=KEY))
    assert [next(lines) for _ in range(5)] == ["running", "accepted 1 rejected 0", "accepted 11 rejected 0", "running 0.8 8 0.9", "the gradient is large"]
    run = next(lines).removeprefix("epoch-8 ").removesuffix("/epoch_8.pt")
    assert run.startswith("run_")
    assert [next(lines) for _ in range(5)] == ["accepted 11 rejected 0", "0.8 8 1", "accepted 1 rejected 0", "completed 1.0", "1 0.9"]
    # Eight epochs four minutes apart, in bins of five.
    assert re.fullmatch("[67] points, falling: True", next(lines))
    assert [next(lines) for _ in range(2)] == ["True 0.263", "accepted 400 rejected 0"]
    assert next(lines).startswith("The mean of accuracy is higher for wide (0.905) than for narrow (0.8622)")
    one, any_ = (json.loads(line.partition(": ")[2]) for line in (next(lines), next(lines)))
    assert 0 < any_[0] < one[0] < one[1] < any_[1]
    assert [next(lines) for _ in range(2)] == ["timestamp,metadata.model,metadata.batch,measurements.accuracy", "401"]
    titles = [cell.strip() for cell in next(lines).split("|")]
    assert {"model.name", "model.units", "Runs completed"} <= set(titles) and not any("dataset" in title for title in titles)
    assert [line.split(" | ")[1] for line in (next(lines), next(lines), next(lines))] == ["---", "Wider layers", "Even wider layers"]
    assert list(lines) == ["completed"]

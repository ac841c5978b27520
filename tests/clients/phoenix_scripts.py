"""Programs that use the Phoenix clients, each a process in the clients' own environment."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_DEADLINE_S = 90.0
_OWN = ("PHOENIX_", "OTEL_", "OPENAI_")


def answer_of(python: Path, script: str, given: Any, env: Mapping[str, str] | None = None, folder: str = "phoenix_env") -> Any:
    """What a script of the folder prints last, as JSON; `given` is its input. Of the clients' settings it sees only those in `env`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    command = [str(python), str(_FOLDER / folder / f"{script}.py")]
    done = subprocess.run(command, input=json.dumps(given), env={**environment, **(env or {})}, capture_output=True, text=True, timeout=_DEADLINE_S)
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout.splitlines()[-1])

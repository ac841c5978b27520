"""The import graph is the flow diagram: roof, three siblings that never meet, meaning, floor."""

import subprocess
import sys

from tests.rules.source import ROOT


def test_imports_keep_to_the_layers() -> None:
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

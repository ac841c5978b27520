"""The engine leaves room for those who wait for it."""

import os
import subprocess
import sys
from pathlib import Path

_ASK = """
import sys
from pathlib import Path
from infra.embedded.engine import Engine, Request
engine = Engine(Path(sys.argv[1]))
print(engine.run(Request(b"SELECT value FROM system.server_settings WHERE name = 'background_pool_size'")).data.decode())
engine.close()
"""


def test_merges_take_half_of_the_cores_at_most(tmp_path: Path) -> None:
    # In a process of its own: there is one engine in each, and it keeps its first settings.
    done = subprocess.run([sys.executable, "-c", _ASK, str(tmp_path / "a folder")], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == max(1, (os.cpu_count() or 1) // 2)

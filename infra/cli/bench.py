"""`millstream bench`: the figures of `make bench`."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

_ROOT = Path(__file__).resolve().parents[2]


def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Figures to measure; all when left out.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write every figure to FILE.")] = None,
) -> None:
    """Measure the speed of the whole path on this machine, load generator included. Needs a checkout."""
    script = _ROOT / "tests" / "bench" / "run.py"
    if not script.exists():
        typer.echo(f"{script} is not here; run this from a checkout.", err=True)
        raise typer.Exit(1)
    options = ["--json", str(json.resolve())] if json else []
    done = subprocess.run([sys.executable, "-m", "tests.bench.run", *(names or []), *options], cwd=_ROOT, check=False)
    raise typer.Exit(done.returncode)

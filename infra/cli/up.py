"""`millstream up`: start everything in the data folder and keep it running."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from infra.embedded.folder import DataFolder, FolderProblem
from infra.embedded.java import JavaMissing
from infra.embedded.kafka_jars import JarsUnavailable
from infra.embedded.kafka_node import KafkaUnusable
from infra.embedded.stack import Prepare, Running, Stack, first_failure
from infra.embedded.supervisor import ChildFailed
from infra.runtime.settings import Settings

_DETACHED_DEADLINE_S = 300.0
_EXPECTED = (FolderProblem, JavaMissing, JarsUnavailable, KafkaUnusable, ChildFailed)

console = Console()
errors = Console(stderr=True)

DetachOption = Annotated[bool, typer.Option("--detach", help="Run in the background and return once everything is ready.")]


def up_command(prepare: Prepare, announce: Callable[[Running], None]) -> Callable[..., None]:
    """The command. `prepare` makes topics, tables and the first key; `announce` prints addresses and that key once all is ready."""

    def up(detach: DetachOption = False) -> None:
        """Start Kafka, ClickHouse and every service from the data folder; Ctrl-C stops them."""
        if detach:
            _detach(Settings())
        else:
            _stay(Settings(), prepare, announce)

    return up


def _stay(settings: Settings, prepare: Prepare, announce: Callable[[Running], None]) -> None:
    def ready(running: Running) -> None:
        for warning in running.warnings:
            errors.print(f"[yellow]Note:[/] {warning}", soft_wrap=True, highlight=False)
        announce(running)
        console.print(f"Ready after {running.seconds:.1f} s. Ctrl-C stops everything; `millstream status` shows it from another terminal.", highlight=False)

    try:
        asyncio.run(Stack(settings, prepare).run(ready))
    except BaseException as error:
        cause = first_failure(error)
        if not isinstance(cause, _EXPECTED):
            raise
        errors.print(f"[red]Cannot start.[/] {cause}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error


def _detach(settings: Settings) -> None:
    folder = DataFolder(settings.data_dir)
    if (holder := folder.holder()) is not None:
        errors.print(f"[red]Cannot start.[/] Millstream already runs on {folder.path} (process {holder}); `millstream stop` ends it.", soft_wrap=True)
        raise typer.Exit(1)
    folder.logs.mkdir(parents=True, exist_ok=True)
    log_path = folder.logs / "up.log"
    with log_path.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "infra.cli.main", "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "MILLSTREAM_DATA_DIR": str(folder.path), "PYTHONUNBUFFERED": "1"},
        )
    deadline = time.monotonic() + _DETACHED_DEADLINE_S
    with console.status("Starting ..."):
        while child.poll() is None and time.monotonic() < deadline:
            state = folder.read_run()
            if state.get("pid") == child.pid and state.get("ready"):
                # The announcement is printed just after the state says ready.
                time.sleep(0.3)
                typer.echo(log_path.read_text())
                return
            time.sleep(0.1)
    if child.poll() is None:
        child.terminate()
    errors.print(f"[red]It did not start.[/] The log {log_path} says:", soft_wrap=True)
    typer.echo(log_path.read_text()[-4000:], err=True)
    raise typer.Exit(1)

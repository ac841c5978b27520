"""`millstream stop`: end the stack of the data folder."""

import os
import signal
import time

import typer

from infra.embedded.folder import DataFolder
from infra.runtime.settings import Settings

_DEADLINE_S = 120.0


def stop() -> None:
    """Stop the stack that runs on the data folder and wait until it has ended."""
    folder = DataFolder(Settings().data_dir)
    if not stop_folder(folder):
        typer.echo(f"Nothing runs on {folder.path}.")


def stop_folder(folder: DataFolder) -> bool:
    """Send SIGTERM to the holder and wait for the folder. False when nobody holds it; exits with status 1 after two minutes."""
    holder = folder.holder()
    if holder is None:
        return False
    try:
        os.kill(holder, signal.SIGTERM)
    except ProcessLookupError:
        return False
    deadline = time.monotonic() + _DEADLINE_S
    while folder.holder() == holder:
        if time.monotonic() > deadline:
            typer.echo(f"Process {holder} did not end within {_DEADLINE_S:g} s; look at {folder.logs}, then end it with `kill -9 {holder}`.", err=True)
            raise typer.Exit(1)
        time.sleep(0.05)
    typer.echo(f"Stopped process {holder}.")
    return True

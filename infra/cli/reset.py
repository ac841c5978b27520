"""`millstream reset`: delete everything the stack stored."""

import shutil
from typing import Annotated

import typer

from infra.cli.stop import stop_folder
from infra.embedded.folder import DataFolder
from infra.runtime.settings import Settings

_OURS = ("stack.json", "stack.lock", "clickhouse", "kafka")

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def reset(yes: YesOption = False) -> None:
    """Stop the stack and delete its data folder: all events, definitions and keys. Asks first."""
    folder = DataFolder(Settings().data_dir)
    if not folder.path.exists():
        typer.echo(f"{folder.path} does not exist; there is nothing to delete.")
        return
    if any(folder.path.iterdir()) and not any((folder.path / name).exists() for name in _OURS):
        typer.echo(f"{folder.path} does not look like a data folder of Millstream; it is left alone.", err=True)
        raise typer.Exit(1)
    if not yes:
        typer.confirm(f"Delete {folder.path} with all events, definitions and keys?", abort=True)
    stop_folder(folder)
    shutil.rmtree(folder.path)
    typer.echo(f"Deleted {folder.path}.")

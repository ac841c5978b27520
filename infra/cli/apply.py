"""`millstream apply`: definitions from a file into the control store."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.control import on_store, print_json
from infra.runtime.settings import Settings
from query_api.control.store import ControlStore
from query_api.domain.definitions import Applied, apply_documents, parse_documents

_SIGNS = {"created": "+", "updated": "~", "deleted": "-", "unchanged": "="}


def apply(
    file: Annotated[Path, typer.Argument(help="YAML file with a list of definitions; - reads standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, change nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring tenants, keys, experiments, metrics and price lists to what FILE says.

    Prints the difference. Applying the same file again changes nothing; definitions the file does not name stay.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        typer.echo(f"Error: {file} cannot be read: {error}", err=True)
        raise typer.Exit(1) from error

    async def work(store: ControlStore, settings: Settings) -> list[Applied]:
        return await apply_documents(store, parse_documents(text), default_tenant=settings.default_tenant, dry_run=dry_run)

    applied = on_store(work)
    if json:
        print_json({"dry_run": dry_run, "definitions": applied})
        return
    for each in applied:
        typer.echo(f"{_SIGNS[each.action]} {each.kind} {each.tenant}/{each.id} {each.action}")
        for name, (before, after) in each.changes.items():
            typer.echo(f"    {name}: {before} -> {after}")
        if each.key:
            typer.echo(f"    key: {each.key}  (shown only now)")
    if dry_run:
        typer.echo("Nothing was changed (--dry-run).")

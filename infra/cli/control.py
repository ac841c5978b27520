"""How commands reach the control store, and how they show what came of it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from infra.runtime.errors import MillstreamError
from infra.runtime.settings import Settings
from query_api.control.store import ControlStore

T = TypeVar("T")


def on_store(work: Callable[[ControlStore, Settings], Awaitable[T]]) -> T:
    """Runs `work` on the control store of the settings, with its tables up to date. An error that is meant for people
    goes to stderr and ends the command with status 1."""

    async def connected() -> T:
        settings = Settings()
        store = ControlStore(settings.control_url)
        try:
            await store.migrate()
            return await work(store, settings)
        finally:
            await store.close()

    try:
        return asyncio.run(connected())
    except MillstreamError as error:
        listed = error.details.get("errors")
        typer.echo("Nothing was changed:" if listed else f"Error: {error.message}", err=True)
        for each in listed or ():
            typer.echo(f"  {each['path']}: {each['message']}", err=True)
        raise typer.Exit(1) from error


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows for people; a missing or empty value is a dash."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(row.get(column) if row.get(column) not in (None, "") else "-") for column in columns))
    Console().print(table)

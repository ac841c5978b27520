"""`millstream tables apply`: ClickHouse's tables brought to the declared ones."""

import asyncio
from typing import Annotated

import typer

from infra.cli.control import print_json
from infra.embedded.stack import connect
from infra.provision import tables
from infra.provision.prepare import open_clickhouse
from infra.provision.tables import TableDifference
from infra.runtime.clickhouse import ClickHouseError
from infra.runtime.errors import MillstreamError
from infra.runtime.settings import Settings

app = typer.Typer(name="tables", help="The tables in ClickHouse.", no_args_is_help=True)


@app.callback()
def tables_group() -> None:
    """The tables in ClickHouse."""


@app.command()
def apply(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; changes only with --yes.")] = False,
) -> None:
    """Print how live tables differ, ask, and create what is missing. Nothing is ever removed. Exit status 1 when a difference is left that only a person can mend."""
    settings = connect()
    try:
        wanted = asyncio.run(_differences(settings))
        mendable = [each for each in wanted if each.statements]
        if not json:
            for each in wanted:
                typer.echo(f"{'+' if each.statements else '!'} {each}")
        done = bool(mendable) and (yes or (not json and typer.confirm("Apply this?", abort=True)))
        if done:
            asyncio.run(_apply(settings, mendable))
    except (ClickHouseError, MillstreamError, OSError) as error:
        typer.echo(f"Error: ClickHouse at {settings.clickhouse.url}: {getattr(error, 'message', error)}", err=True)
        raise typer.Exit(1) from error
    if json:
        print_json({"applied": done, "differences": [{"what": each.what, "statements": each.statements} for each in wanted]})
    elif not wanted:
        typer.echo("Every table is as declared.")
    elif done:
        typer.echo("Done.")
    if len(mendable) < len(wanted):
        raise typer.Exit(1)


async def _differences(settings: Settings) -> list[TableDifference]:
    # Without a database, because the first time there is none.
    clickhouse = open_clickhouse(settings, database="")
    try:
        return await tables.differences(clickhouse, settings.clickhouse)
    finally:
        await clickhouse.aclose()


async def _apply(settings: Settings, wanted: list[TableDifference]) -> None:
    server, clickhouse = open_clickhouse(settings, database=""), open_clickhouse(settings)
    try:
        await tables.create_database(server, settings.clickhouse)
        await tables.apply(clickhouse, wanted)
    finally:
        await server.aclose()
        await clickhouse.aclose()

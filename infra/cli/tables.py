"""`millstream tables apply`: ClickHouse's tables brought to the declared ones."""

from collections.abc import Sequence
from typing import Any

import typer

from infra.cli.provisioning import Json, Yes, bring_up_to_date
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
def apply(yes: Yes = False, json: Json = False) -> None:
    """Print how live tables differ, ask, and create what is missing. Nothing is ever removed. Exit status 1 when a difference is left that only a person can mend."""
    settings = connect()

    def reason(error: Exception) -> str | None:
        if isinstance(error, (ClickHouseError, MillstreamError, OSError)):
            return f"ClickHouse at {settings.clickhouse.url}: {getattr(error, 'message', error)}"
        return None

    bring_up_to_date(
        lambda: _differences(settings),
        lambda wanted: _apply(settings, wanted),
        yes=yes,
        json=json,
        complete="Every table is as declared.",
        reason=reason,
        mendable=lambda each: bool(each.statements),
        plain=_plain,
    )


def _plain(difference: TableDifference) -> dict[str, Any]:
    return {"what": difference.what, "statements": difference.statements}


async def _differences(settings: Settings) -> list[TableDifference]:
    # Without a database, because the first time there is none.
    clickhouse = open_clickhouse(settings, database="")
    try:
        return await tables.differences(clickhouse, settings.clickhouse)
    finally:
        await clickhouse.aclose()


async def _apply(settings: Settings, wanted: Sequence[TableDifference]) -> None:
    server, clickhouse = open_clickhouse(settings, database=""), open_clickhouse(settings)
    try:
        await tables.create_database(server, settings.clickhouse)
        await tables.apply(clickhouse, list(wanted))
    finally:
        await server.aclose()
        await clickhouse.aclose()

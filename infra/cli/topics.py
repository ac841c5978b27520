"""`millstream topics apply`: the broker's topics brought to the declared ones."""

import asyncio
from typing import Annotated

import typer
from aiokafka.errors import KafkaError

from infra.cli.control import print_json
from infra.embedded.stack import connect
from infra.provision import topics
from infra.runtime.errors import MillstreamError
from infra.runtime.settings import Settings

app = typer.Typer(name="topics", help="The topics on the broker.", no_args_is_help=True)


@app.callback()
def topics_group() -> None:
    """The topics on the broker."""


@app.command()
def apply(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; changes only with --yes.")] = False,
) -> None:
    """Print what the broker lacks, ask, and create it. Nothing is ever removed; applying again changes nothing."""
    settings = connect()
    try:
        wanted = asyncio.run(topics.differences(settings.kafka))
        done = bool(wanted) and (yes or not json) and _agreed([str(each) for each in wanted], yes=yes, quiet=json)
        if done:
            asyncio.run(topics.apply(settings.kafka, wanted))
    except (KafkaError, OSError, MillstreamError) as error:
        typer.echo(f"Error: {_reason(error, settings)}", err=True)
        raise typer.Exit(1) from error
    if json:
        print_json({"applied": done, "differences": [str(each) for each in wanted]})
    elif not wanted:
        typer.echo("Every topic is as declared.")
    elif done:
        typer.echo("Done.")


def _agreed(lines: list[str], *, yes: bool, quiet: bool) -> bool:
    if not quiet:
        for line in lines:
            typer.echo(f"+ {line}")
    return yes or typer.confirm("Apply this?", abort=True)


def _reason(error: Exception, settings: Settings) -> str:
    return (
        error.message
        if isinstance(error, MillstreamError)
        else f"Kafka at {settings.kafka.bootstrap} does not answer; start it with `millstream up`. ({error})"
    )

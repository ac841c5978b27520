"""`millstream dlq`: what could not be stored, and sending it again."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.cli.control import print_json
from infra.cli.dead_letter import LetterGone, Letters, parse_place
from infra.cli.endpoint import api_key, main_url, settings_of_stack
from infra.runtime.errors import MillstreamError
from infra.runtime.settings import Settings
from schemas.topics import DEAD_LETTERS

app = typer.Typer(name="dlq", help="Dead letters: what could not be stored.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyOption = Annotated[str | None, typer.Option(help="API key; the first key of the stack when left out.", envvar="MILLSTREAM_API_KEY")]
LimitOption = Annotated[int, typer.Option(help="Most letters.", min=1, max=1_000)]
_COLUMNS = ("letter", "at", "origin", "rows", "reason")


@app.command("list")
def list_(limit: LimitOption = 50, key: KeyOption = None, json: JsonOption = False) -> None:
    """List dead letters, newest first, from the platform's API."""
    settings = settings_of_stack()
    letters = listed(settings, api_key(settings, key), limit)
    if json:
        print_json(letters)
    elif letters:
        table = Table(box=None, pad_edge=False)
        for name in _COLUMNS:
            # A place that is cut cannot be used.
            table.add_column(name, no_wrap=name != "reason", overflow="fold")
        for each in letters:
            table.add_row(each["letter"], each["at"][:19], f"{each['topic']}:{each['partition']}:{each['offset']}", str(each["rows"]), escape(each["reason"]))
        Console().print(table)
    else:
        typer.echo("No dead letters.")


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="Place of the letter, as `dlq list` shows it: dead_letters:PARTITION:OFFSET, or just OFFSET.")],
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the original bytes to FILE.")] = None,
    json: JsonOption = False,
) -> None:
    """Print origin, reason and headers of one letter, and save its original bytes."""
    partition, offset = _parsed([letter])[0]
    found = _run(lambda letters: letters.read(partition, offset))
    if save is not None:
        save.write_bytes(found.value)
    if json:
        print_json({**found.about(), "saved": str(save) if save else None})
        return
    for name, value in found.about().items():
        if name != "headers":
            typer.echo(f"{name + ':':10} {value}")
    for name, value in found.about()["headers"].items():
        typer.echo(f"  {name}: {value}")
    typer.echo(f"Saved to {save}." if save else f"--save FILE writes the {len(found.value)} original bytes.")


@app.command()
def replay(
    letters: Annotated[list[str] | None, typer.Argument(help="Places of letters, as `dlq list` shows them.")] = None,
    newest: Annotated[int, typer.Option("--newest", help="Instead: this many of the newest letters.", min=0, max=1_000)] = 0,
    topic: Annotated[str | None, typer.Option(help="With --newest: only those of this topic.")] = None,
    key: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Publish the original bytes and headers to the topic they came from. Mend the cause first.

    The batch id stays, so a block that is stored meanwhile is not stored twice. A letter stays on its topic; one that fails
    again becomes a new letter.
    """
    places = list(letters or ())
    if newest:
        settings = settings_of_stack()
        places += [each["letter"] for each in listed(settings, api_key(settings, key), newest) if topic in (None, each["topic"])]
    if not places:
        typer.echo("Name the letters, or say --newest N; `millstream dlq list` shows them.", err=True)
        raise typer.Exit(2)

    numbers = _parsed(places)

    async def work(source: Letters) -> list[dict[str, Any]]:
        done = []
        for partition, offset in numbers:
            letter = await source.read(partition, offset)
            done.append({"letter": letter.place, "republished": str(await source.replay(letter)), "batch_id": letter.headers.get("ms-batch", "")})
        return done

    done = _run(work)
    if json:
        print_json(done)
        return
    for each in done:
        typer.echo(f"{each['letter']} is again on its topic, at {each['republished']}.")
    typer.echo("A worker stores it now; what fails again appears in `millstream dlq list`.")


def listed(settings: Settings, key: str, limit: int) -> list[dict[str, Any]]:
    """The newest letters from the API. Ends the command with status 1 when it does not answer."""
    url = f"{main_url(settings)}/platform/v1/{DEAD_LETTERS.name.replace('_', '-')}"
    try:
        response = httpx.get(url, params={"limit": limit}, headers={"Authorization": f"Bearer {key}"}, timeout=30.0, trust_env=False)
    except httpx.TransportError as error:
        typer.echo(f"Error: {url} does not answer ({type(error).__name__}); is the stack up?", err=True)
        raise typer.Exit(1) from error
    if not response.is_success:
        typer.echo(f"Error: {url} answered {response.status_code}: {response.text[:300]}", err=True)
        raise typer.Exit(1)
    found: list[dict[str, Any]] = response.json()["data"]
    return found


def _parsed(places: list[str]) -> list[tuple[int, int]]:
    try:
        return [parse_place(place) for place in places]
    except ValueError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error


def _run(work: Any) -> Any:
    settings = settings_of_stack()

    async def connected() -> Any:
        async with Letters(settings.kafka) as letters:
            return await work(letters)

    try:
        return asyncio.run(connected())
    except (MillstreamError, LetterGone, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    except (KafkaError, OSError) as error:
        typer.echo(f"Error: Kafka at {settings.kafka.bootstrap} does not answer: {error}", err=True)
        raise typer.Exit(1) from error

"""`millstream send`: a file into a door."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from infra.cli.batches import Batch, Refused, content_hash, read_batches
from infra.cli.control import print_json
from infra.cli.endpoint import api_key, main_url, settings_of_stack

BATCH: Final = 500
CONCURRENCY: Final = 4
ATTEMPTS: Final = 30
"""Tries of one batch while the platform is away or full: about a minute."""
_SHOWN = 20
_INTERRUPTED = 130


class Door(StrEnum):
    """A door of the HTTP API."""

    EVENTS = "events"
    TELEMETRY = "telemetry"


PATHS: Final = {Door.EVENTS: "/experimentation/api/v1/events/batch", Door.TELEMETRY: "/crucible/api/v1/telemetry/events"}


@dataclass
class Report:
    """What became of a file."""

    sent: int = 0
    """Items that were posted."""
    stored: int = 0
    """Items the door took; those it had before count too, they are stored once."""
    refused: list[Refused] = field(default_factory=list)
    batches: int = 0
    position: str = ""
    """The last `X-Millstream-Position`."""
    interrupted: bool = False
    problem: str = ""
    """Why sending stopped early."""


def send(
    file: Annotated[Path, typer.Argument(help="JSON lines, or CSV with a header line.", exists=True, dir_okay=False, readable=True)],
    door: Annotated[Door, typer.Option(help="Where the items go.")] = Door.EVENTS,
    url: Annotated[str | None, typer.Option(help="Address of the door; that of the stack in the data folder when left out.")] = None,
    key: Annotated[str | None, typer.Option(help="API key; the first key of the stack in the data folder when left out.", envvar="MILLSTREAM_API_KEY")] = None,
    concurrency: Annotated[int, typer.Option(help="Requests under way at a time.", min=1, max=64)] = CONCURRENCY,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send FILE in batches of 500. Sending the same file again stores nothing twice, so after Ctrl-C or a failure just send it again.

    Exit status 1 when a line was refused or sending stopped early, 130 after Ctrl-C.
    """
    settings = settings_of_stack()
    sender = Sender(file, url or main_url(settings) + PATHS[door], api_key(settings, key), concurrency)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    bar.disable = json or not bar.console.is_terminal
    try:
        with bar:
            report = asyncio.run(sender.run(bar))
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {file} cannot be read: {error}", err=True)
        raise typer.Exit(1) from error
    if json:
        print_json(asdict(report))
    else:
        _print(report)
    if report.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if report.refused or report.problem:
        raise typer.Exit(1)


class Stopped(Exception):
    """The platform will not take the file; the message says why."""


class Sender:
    """Posts the batches of one file, several at a time."""

    def __init__(self, file: Path, url: str, key: str, concurrency: int = CONCURRENCY, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._file = file
        self._url = url
        self._key = key
        self._concurrency = concurrency
        self._transport = transport
        self._report = Report()
        self._stop = asyncio.Event()

    async def run(self, bar: Progress | None = None) -> Report:
        """Send everything; Ctrl-C lets what is under way finish. Raises OSError and ValueError for a file that cannot be read."""
        digest = await asyncio.to_thread(content_hash, self._file)
        task = bar.add_task(self._file.name, total=self._file.stat().st_size) if bar else None
        batches = read_batches(self._file, BATCH)
        async with self._interruptible(), self._client() as client:

            async def work() -> None:
                while not self._stop.is_set() and (batch := _next(batches)) is not None:
                    await self._post(client, batch, digest)
                    if bar is not None and task is not None:
                        bar.update(task, completed=max(batch.position, bar.tasks[task].completed))

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._concurrency):
                        group.create_task(work())
            except* Stopped as stopped:
                self._report.problem = str(stopped.exceptions[0])
        self._report.refused.sort(key=lambda refused: refused.line)
        return self._report

    async def _post(self, client: httpx.AsyncClient, batch: Batch, digest: str) -> None:
        self._report.refused += batch.refused
        if not batch.items:
            return
        headers = {"Idempotency-Key": hashlib.sha256(f"{digest}/{batch.number}".encode()).hexdigest()}
        response = await self._answered(client, batch.body, headers)
        data = _data(response)
        refused = [Refused(batch.lines[each["index"]], each["message"], each.get("field", "")) for each in data.get("errors", ())]
        self._report.refused += refused
        self._report.batches += 1
        self._report.sent += len(batch.items)
        self._report.stored += len(batch.items) - len(refused)
        self._report.position = response.headers.get("x-millstream-position", self._report.position)

    async def _answered(self, client: httpx.AsyncClient, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """The successful answer; a platform that is away or full is waited for. Raises Stopped."""
        problem, pause = "", 0.2
        for _ in range(ATTEMPTS):
            try:
                response = await client.post(self._url, content=body, headers=headers)
            except httpx.TransportError as error:
                problem = f"{self._url} does not answer ({type(error).__name__}); is the stack up?"
            else:
                if response.is_success:
                    return response
                problem = f"{self._url} answered {response.status_code}: {_message(response)}"
                if response.status_code not in (429, 502, 503, 504):
                    raise Stopped(problem)
                pause = max(pause, float(response.headers.get("retry-after", "0")))
            try:
                await asyncio.wait_for(self._stop.wait(), pause)
            except TimeoutError:
                pause = min(pause * 2, 2.0)
            else:
                break
        raise Stopped(problem)

    def _client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "X-Millstream-SDK": "millstream-send"}
        return httpx.AsyncClient(headers=headers, timeout=30.0, transport=self._transport, trust_env=False)

    @asynccontextmanager
    async def _interruptible(self) -> AsyncIterator[None]:
        def interrupt() -> None:
            self._report.interrupted = True
            self._stop.set()

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)


def _next(batches: Iterator[Batch]) -> Batch | None:
    return next(batches, None)


def _data(response: httpx.Response) -> dict[str, Any]:
    data: dict[str, Any] = response.json()["data"]
    return data


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:300]


def _print(report: Report) -> None:
    typer.echo(f"{report.stored} stored, {len(report.refused)} refused, in {report.batches} batches.")
    for refused in report.refused[:_SHOWN]:
        typer.echo(f"  line {refused.line}: {refused.reason}" + (f" ({refused.field})" if refused.field else ""), err=True)
    if len(report.refused) > _SHOWN:
        typer.echo(f"  ... and {len(report.refused) - _SHOWN} more; --json lists all.", err=True)
    if report.problem:
        typer.echo(f"Stopped: {report.problem}", err=True)
    if report.interrupted or report.problem:
        typer.echo("Send the same file again to go on; what is stored is not stored twice.", err=True)

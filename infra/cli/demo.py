"""`millstream demo`: simulated shop visitors through the public API, and the significance windows that follow them, live."""

import asyncio
import contextlib
import signal
import time
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from infra.cli.control import on_store, print_json
from infra.cli.endpoint import api_key, main_url, settings_of_stack
from infra.cli.live_feed import LiveFeed
from infra.cli.send import PATHS, Door
from infra.cli.visitors import DEFINITIONS, EXPERIMENT, Event, Shop
from infra.runtime.clock import SystemClock
from infra.runtime.settings import Settings
from query_api.control.store import ControlStore
from query_api.domain.definitions import Applied, apply_documents, parse_documents
from schemas import position

TICK_S: Final = 0.5
BATCH: Final = 500
SETTLE_S: Final = 20.0
"""How long the end waits for the windows to include everything that was sent."""
COLUMNS: Final = ("metric", "variant", "units", "value", "difference", "anytime interval", "p", "")


def demo(
    duration: Annotated[float, typer.Option(help="Seconds of visitors.", min=1)] = 60.0,
    rate: Annotated[float, typer.Option(help="Visitors per second.", min=0.1, max=20_000)] = 200.0,
    effect: Annotated[float, typer.Option(help="Relative change of the conversion rate by the treatment; 0 for none.", min=-1, max=5)] = 0.2,
    url: Annotated[str | None, typer.Option(help="Address of the main port; that of the stack in the data folder when left out.")] = None,
    key: Annotated[str | None, typer.Option(help="API key; the first key of the stack when left out.", envvar="MILLSTREAM_API_KEY")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print only the last windows, as JSON.")] = False,
) -> None:
    """Send visitors of a shop (exposures, purchases, repeat visits, duplicates, late events) and watch the experiment `demo_checkout` being decided.

    Exit status 1 when the windows do not show everything that was sent.
    """
    settings = settings_of_stack()
    base, text = (url or main_url(settings)).rstrip("/"), api_key(settings, key)
    on_store(_define)
    screen = Console()
    run = Demo(base, text, Shop(uuid.uuid4().hex[:8], rate=rate, effect=effect, seed=uuid.uuid4().int % 2**32), duration)
    try:
        complete = asyncio.run(_shown(run, screen, quiet=json))
    except httpx.HTTPError as error:
        typer.echo(f"Error: {base} does not take events: {error}; is the stack up?", err=True)
        raise typer.Exit(1) from error
    if json:
        print_json({"complete": complete, **run.summary(), "window": run.feed.state})
    else:
        typer.echo(run.closing(complete))
    if not complete:
        raise typer.Exit(1)


async def _define(store: ControlStore, settings: Settings) -> list[Applied]:
    return await apply_documents(store, parse_documents(DEFINITIONS), default_tenant=settings.default_tenant)


@dataclass
class _Sent:
    events: int = 0
    batches: int = 0


class Demo:
    """Sends the visitors and follows the windows."""

    def __init__(self, base: str, key: str, shop: Shop, duration_s: float) -> None:
        self._base = base
        self._key = key
        self._shop = shop
        self._duration_s = duration_s
        self._sent = _Sent()
        self._wanted: dict[str, int] = {}
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._moved = asyncio.Event()
        self.feed = LiveFeed(base, key, kind="significance", subject=EXPERIMENT, grain="all", changed=lambda _: self._moved.set())

    async def run(self) -> bool:
        """Until the time is over or Ctrl-C; True when the windows include everything that was sent. Raises httpx.HTTPError."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._stop.set)
        following = asyncio.create_task(self.feed.run())
        try:
            await self._send_visitors()
            return await self._settled()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _send_visitors(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "X-Millstream-SDK": "millstream-demo"}
        transport = httpx.AsyncHTTPTransport(retries=3)
        async with httpx.AsyncClient(headers=headers, timeout=30.0, transport=transport, trust_env=False) as client:
            begun = last = time.monotonic()
            while not self._stop.is_set() and (now := time.monotonic()) < begun + self._duration_s:
                await self._post(client, self._shop.step(self._clock.now_us(), now - last))
                last = now
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), max(0.0, now + TICK_S - time.monotonic()))
            await self._post(client, self._shop.rest())

    async def _post(self, client: httpx.AsyncClient, events: list[Event]) -> None:
        for begin in range(0, len(events), BATCH):
            batch = events[begin : begin + BATCH]
            response = await client.post(self._base + PATHS[Door.EVENTS], json={"events": batch})
            response.raise_for_status()
            self._sent.events += len(batch)
            self._sent.batches += 1
            self._wanted = position.merge(self._wanted, position.decode(response.headers.get("x-millstream-position", "")))

    async def _settled(self) -> bool:
        deadline = time.monotonic() + SETTLE_S
        while not self.feed.state or not position.covers(self.feed.state["positions"], self._wanted):
            self._moved.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left)
        return True

    def summary(self) -> dict[str, int]:
        """What was sent so far."""
        shop = self._shop
        return {
            "visitors": shop.visitors,
            "events": shop.events,
            "posted": self._sent.events,
            "duplicates": shop.duplicates,
            "late": shop.late,
            "batches": self._sent.batches,
            "revisions": self.feed.revisions,
        }

    def headline(self) -> str:
        """One line on what was sent and seen."""
        line = "{visitors} visitors, {events} events and {duplicates} duplicates ({late} late) in {batches} batches; {revisions} revisions seen"
        return line.format(**self.summary()) + (f"; no live connection: {self.feed.problem}" if self.feed.problem else "")

    def closing(self, complete: bool) -> str:
        """The last words."""
        if not complete:
            return f"The windows did not include everything within {SETTLE_S:g} s; `millstream doctor` may say why."
        return f"Everything sent is in the windows, the duplicates once. More: {self._base}/platform/v1/windows/significance?subject={EXPERIMENT}"

    def rows(self) -> list[tuple[str, ...]]:
        """The figures as text, one row an item."""
        items: dict[str, dict[str, Any]] = (self.feed.state or {}).get("items", {})
        return [_row(figures) for _, figures in sorted(items.items()) if figures]


def _row(figures: dict[str, Any]) -> tuple[str, ...]:
    anytime = figures.get("anytime") or {}
    interval, p = anytime.get("interval"), anytime.get("p_value")
    is_control = figures["variant"] == figures["control"]
    plain = [str(figures["metric"]), str(figures["variant"]), f"{figures['treatment_units']:,}", _number(figures["treatment_value"])]
    if is_control:
        return (*plain, "", "control", "", "")
    shown = f"{_number(interval[0], sign=True)} to {_number(interval[1], sign=True)}" if interval else "not yet"
    return (*plain, _number(figures["difference"], sign=True), shown, "" if p is None else f"{p:.2g}", "decided" if figures["significant"] else "")


def _number(value: float | None, *, sign: bool = False) -> str:
    return "" if value is None else f"{value:{'+' if sign else ''}.4g}"


async def _shown(run: Demo, screen: Console, *, quiet: bool) -> bool:
    """Run the demo with a table that moves, plain lines where nobody watches, or nothing."""
    if quiet:
        return await run.run()
    if not screen.is_terminal:
        return await _told(run, lambda: _lines(run, screen), every_s=2.0)
    with Live(_table(run), console=screen, refresh_per_second=4) as live:
        return await _told(run, lambda: live.update(_table(run)), every_s=0.25)


async def _told(run: Demo, tell: Any, every_s: float) -> bool:
    async def repeat() -> None:
        while True:
            await asyncio.sleep(every_s)
            tell()

    telling = asyncio.create_task(repeat())
    try:
        return await run.run()
    finally:
        telling.cancel()
        tell()


def _table(run: Demo) -> Table:
    table = Table(*COLUMNS, title=f"Experiment {EXPERIMENT}, all time", caption=run.headline(), title_justify="left", caption_justify="left")
    for row in run.rows():
        table.add_row(*row, style="bold green" if row[-1] == "decided" else "")
    return table


def _lines(run: Demo, screen: Console) -> None:
    screen.print(run.headline(), soft_wrap=True, highlight=False)
    for row in run.rows():
        screen.print("  " + "  ".join(cell for cell in row if cell), soft_wrap=True, highlight=False)

"""What `up` does between the stores and the services, and what it says once everything is ready."""

import time

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from infra.embedded.stack import Running
from infra.provision.prepare import prepare as provision
from infra.runtime.settings import Settings
from query_api.control.outbox import OutboxPublisher
from query_api.control.store import ControlStore
from query_api.control.topic import KafkaControlTopic
from query_api.domain.keys import KEY_FILE, ensure_bootstrap
from schemas.surfaces import LLM, OTLP, SURFACES
from schemas.topics import CONTROL

_PUBLISH_DEADLINE_S = 20.0


class FirstStart:
    """Prepares the stores, and keeps the first key for the announcement."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._key: str | None = None

    async def prepare(self, settings: Settings) -> None:
        """Topics, tables, the control store, the first tenant and key, and all of it on the control topic, so that ingest
        knows the key before it opens its doors. Repeating is safe. Raises what the stores raise."""
        made: list[str] = []
        await provision(settings, made.append)
        if made:
            self._console.print(f"Made {len(made)} topics and tables.", highlight=False)
        store = ControlStore(settings.control_url)
        try:
            await store.migrate()
            self._key = await ensure_bootstrap(store, settings)
            await _publish(store, settings)
        finally:
            await store.close()

    def announce(self, running: Running) -> None:
        """Print every address and the first key."""
        # Printed whole: an address that is cut cannot be clicked.
        wide = Console(width=max(self._console.width, 100))
        wide.print(Panel(addresses(running.settings), title="Millstream", title_align="left", border_style="green", expand=False))
        path = running.settings.data_dir / KEY_FILE
        if self._key:
            # A plain line: a key that is cut or styled cannot be copied.
            self._console.print("API key:", self._key, soft_wrap=True, highlight=False, markup=False)
            self._console.print(f"It is kept in {path} (mode 0600).", soft_wrap=True, highlight=False, markup=False)
        else:
            self._console.print("The first key is revoked or its file is gone; `millstream key create NAME --role admin` makes another.", soft_wrap=True)


def addresses(settings: Settings) -> Table:
    """Every surface with its port and its prefix on the main port."""
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::") else settings.host
    main = f"http://{host}:{settings.port.main}"
    table = Table("surface", "own port", "on the main port", box=None, pad_edge=False)
    table.add_row("platform", "-", f"{main}/platform/v1/")
    for surface in SURFACES:
        number: int = getattr(settings.port, surface.port) if surface.port else 0
        if surface is OTLP:
            table.add_row("OTLP over HTTP", f"http://{host}:{number}" if number else "off", f"{main}/{LLM.name}")
        elif surface.port:
            table.add_row(surface.name, f"http://{host}:{number}" if number else "off", f"{main}/{surface.name}")
    grpc = settings.port.otlp_grpc
    table.add_row("OTLP over gRPC", f"{host}:{grpc}" if grpc else "off", "-")
    return table


async def _publish(store: ControlStore, settings: Settings) -> None:
    outbox = OutboxPublisher(store, KafkaControlTopic(settings.kafka.bootstrap, CONTROL.name))
    deadline = time.monotonic() + _PUBLISH_DEADLINE_S
    try:
        while await outbox.publish_once() and time.monotonic() < deadline:
            pass
    finally:
        await outbox.close()

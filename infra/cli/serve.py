"""`millstream serve ingest|query`: one service in the foreground."""

import typer

from infra.runtime.logging import configure_logging
from infra.runtime.settings import Settings
from infra.runtime.telemetry import start_telemetry, traced_ingest

app = typer.Typer(name="serve", help="Run one service in the foreground; `up` runs all of them.", no_args_is_help=True)


@app.command()
def ingest() -> None:
    """Serve the doors on the main port and every documented port until SIGINT or SIGTERM."""
    import uvloop

    from ingest.service import run_ingest
    from schemas.surfaces import SURFACES

    settings = Settings()
    configure_logging(settings, "ingest")
    stop = start_telemetry(settings, "millstream-ingest")
    doors = sorted({request.split(" ")[1] for surface in SURFACES for request in surface.doors})
    protocols = sorted({path for surface in SURFACES for path in surface.protocols})
    try:
        uvloop.run(run_ingest(settings, traced_ingest(doors, protocols)))
    finally:
        stop()


@app.command()
def query() -> None:
    """Serve reads, definitions and the live connection on the query port until SIGINT or SIGTERM."""
    import uvicorn

    from query_api.app import create_app

    settings = Settings()
    configure_logging(settings, "query")
    stop = start_telemetry(settings, "millstream-query")
    try:
        uvicorn.run(
            create_app(settings),
            host=settings.host,
            port=settings.port.query,
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            # What it says of a WebSocket at the level below has the query string in it, and browsers put their token there.
            log_level="warning",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=10,
            server_header=False,
        )
    finally:
        stop()

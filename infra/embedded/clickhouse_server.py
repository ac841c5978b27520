"""ClickHouse for one machine: the engine in this process, behind ClickHouse's HTTP interface.

`python -m infra.embedded.clickhouse_server --data DIR --host 127.0.0.1 --port N`
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import structlog
import uvicorn

from infra.embedded.engine import Engine, Limits
from infra.embedded.engine_errors import EngineFailure
from infra.embedded.engine_http import EngineInterface
from infra.runtime.collector import settle
from infra.runtime.settings import Settings

log = structlog.get_logger()


def serve(settings: Settings, data: Path, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, finish the running statements, close the data folder. Raises EngineFailure when the folder is taken."""
    clickhouse = settings.clickhouse
    engine = Engine(data)
    try:
        app = EngineInterface(
            engine,
            writer=(clickhouse.user, clickhouse.password.get_secret_value()),
            reader=(clickhouse.reader_user, clickhouse.reader_password.get_secret_value()),
            limits=Limits(clickhouse.read_timeout_s, clickhouse.read_max_memory_bytes, clickhouse.read_max_rows),
        )
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=20,
            timeout_keep_alive=75,
        )
        # uvicorn raises the signal that stopped it once more when it is done; by default that would end the process before the folder is closed.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        log.info("engine_open", data=str(data), host=host, port=port)
        settle()
        uvicorn.Server(config).run()
        app.close()
    finally:
        engine.close()
    log.info("engine_closed", data=str(data))


def main() -> None:
    parser = argparse.ArgumentParser(description="The ClickHouse engine behind its HTTP interface, for one machine.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the tables; created when absent")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    # Times without a zone mean UTC, wherever the machine stands; the engine reads this when it opens.
    os.environ["TZ"] = "UTC"
    time.tzset()
    data = options.data.resolve()
    settings = Settings()
    try:
        data.mkdir(parents=True, exist_ok=True)
        # Schemas that come with an INSERT are kept by the engine below the working directory.
        os.chdir(data)
        serve(settings, data, options.host, options.port)
    except EngineFailure as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()

"""`millstream doctor`: versions, disk, lag and schema drift in one look."""

import asyncio
import json as json_module
import platform
import shutil
from collections.abc import Awaitable, Callable, Mapping
from importlib import metadata
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.embedded.folder import MIN_FREE_BYTES, DataFolder
from infra.embedded.java import JavaMissing, find_java
from infra.embedded.kafka import broker_answers
from infra.embedded.kafka_jars import KAFKA_VERSION, cache_folder
from infra.embedded.stack import connect
from infra.runtime.clickhouse import ClickHouse, ClickHouseError
from infra.runtime.settings import Settings

Probe = Callable[[Settings], Awaitable[Mapping[str, Any]]]
"""Looks at the running system; the key `ok` of the answer, when present, says whether all is well. May raise."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def doctor_command(lag: Probe, drift: Probe) -> Callable[..., None]:
    """The command. `lag` reports how far the workers are behind, `drift` how live tables and topics differ from the declared ones."""

    def doctor(json: JsonOption = False) -> None:
        """Check versions, disk, Kafka, ClickHouse, lag and schema drift. Exit status 1 when something is wrong."""
        report = asyncio.run(examine(connect(), lag=lag, drift=drift))
        if json:
            typer.echo(json_module.dumps(report, indent=2, default=str))
        else:
            _print(report)
        if not all(check["ok"] for check in report.values()):
            raise typer.Exit(1)

    return doctor


async def examine(settings: Settings, *, lag: Probe | None = None, drift: Probe | None = None) -> dict[str, dict[str, Any]]:
    """Every check by name, each with `ok` and its facts. Never raises: a check that fails says so."""
    kafka_up = await broker_answers(settings.kafka.bootstrap)
    report = {
        "python": {"ok": True, "version": platform.python_version()},
        "java": _java(),
        "engine": {"ok": True, "chdb": metadata.version("chdb"), "core": metadata.version("chdb-core")},
        "broker": {"ok": True, "version": KAFKA_VERSION, "fetched": (cache_folder() / f"kafka-{KAFKA_VERSION}").is_dir()},
        "disk": _disk(settings),
        "kafka": {"ok": kafka_up, "bootstrap": settings.kafka.bootstrap},
        "clickhouse": await _clickhouse(settings),
    }
    stores_up = kafka_up and bool(report["clickhouse"]["ok"])
    for name, probe in (("lag", lag), ("drift", drift)):
        if probe is not None:
            report[name] = await _probe(probe, settings) if stores_up else {"ok": False, "error": "needs Kafka and ClickHouse; start them with `millstream up`"}
    return report


def _java() -> dict[str, Any]:
    try:
        java = find_java()
    except JavaMissing as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True, "version": java.major, "binary": str(java.binary)}


def _disk(settings: Settings) -> dict[str, Any]:
    folder = DataFolder(settings.data_dir).path
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    return {"ok": free >= MIN_FREE_BYTES, "data_dir": str(folder), "free_gb": round(free / 1e9, 1)}


async def _clickhouse(settings: Settings) -> dict[str, Any]:
    server = settings.clickhouse
    client = ClickHouse(server.url, server.user, server.password.get_secret_value(), database="", timeout=5.0)
    try:
        rows = await client.query("SELECT version() AS version")
        return {"ok": True, "url": server.url, "version": rows[0]["version"]}
    except ClickHouseError as error:
        return {"ok": False, "url": server.url, "error": error.message}
    finally:
        await client.aclose()


async def _probe(probe: Probe, settings: Settings) -> dict[str, Any]:
    try:
        return {"ok": True, **await probe(settings)}
    except Exception as error:  # noqa: BLE001 - a broken check must not hide the others
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def _print(report: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table("check", "", "what was found")
    for name, check in report.items():
        facts = ", ".join(f"{key} {value}" for key, value in check.items() if key != "ok")
        table.add_row(name, "[green]ok[/]" if check["ok"] else "[red]not ok[/]", facts)
    Console().print(table)

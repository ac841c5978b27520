"""`millstream status`: what runs in the data folder."""

import asyncio
import json as json_module
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.embedded.folder import DataFolder
from infra.embedded.kafka import broker_answers
from infra.embedded.stack import connect, http_ready
from infra.runtime.settings import Settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def status(json: JsonOption = False) -> None:
    """Show the processes of the stack, their restarts and ports. Exit status 3 when nothing runs, 1 when a part is not ready."""
    settings = connect()
    folder = DataFolder(settings.data_dir)
    state = folder.read_run()
    if not state:
        if json:
            typer.echo(json_module.dumps({"running": False, "data_dir": str(folder.path)}))
        else:
            typer.echo(f"Nothing runs on {folder.path}. `millstream up` starts it.")
        raise typer.Exit(3)
    answers = asyncio.run(_answers(settings, state))
    children = [{**child, "answers": answers.get(child["name"])} for child in state.get("children", [])]
    ready = bool(state.get("ready")) and all(child["state"] == "ready" and child["answers"] is not False for child in children)
    report = {**state, "running": True, "ready": ready, "data_dir": str(folder.path), "children": children}
    if json:
        typer.echo(json_module.dumps(report, indent=2))
    else:
        _print(report)
    if not ready:
        raise typer.Exit(1)


async def _answers(settings: Settings, state: dict[str, Any]) -> dict[str, bool]:
    """Whether the stores answer right now; services are judged by the supervisor's last look."""
    names = {child["name"] for child in state.get("children", [])}
    result: dict[str, bool] = {}
    if "clickhouse" in names:
        result["clickhouse"] = await http_ready(f"{settings.clickhouse.url}/ping")()
    if "kafka" in names:
        result["kafka"] = await broker_answers(settings.kafka.bootstrap)
    if "query" in names:
        result["query"] = await http_ready(f"{settings.query.url}/platform/v1/health/live")()
    return result


def _print(report: dict[str, Any]) -> None:
    ports: dict[str, int] = report.get("ports", {})
    shown = {"clickhouse": "clickhouse", "kafka": "kafka", "query": "query", "worker": "worker_metrics"}
    table = Table(title=f"Millstream on {report['data_dir']}", title_justify="left")
    for column in ("part", "state", "pid", "restarts", "port"):
        table.add_column(column, justify="right" if column in ("pid", "restarts", "port") else "left")
    for child in report["children"]:
        state = child["state"] if child["answers"] is not False else f"{child['state']}, does not answer"
        port = ports.get(shown.get(child["name"], ""), "")
        table.add_row(child["name"], state, str(child["pid"] or ""), str(child["restarts"]), str(port))
    console = Console()
    console.print(table)
    minutes = (time.time() - float(report.get("started", time.time()))) / 60
    console.print(f"{'Ready' if report['ready'] else 'Not ready'}; process {report['pid']}, up {minutes:.0f} min.", highlight=False)

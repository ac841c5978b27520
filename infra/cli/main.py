"""The `millstream` command. Each subcommand is a file beside this one, and is read only when it is used."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

Loaded = typer.Typer | Callable[..., None]


def _up() -> Loaded:
    from infra.cli.first_start import FirstStart
    from infra.cli.up import up_command

    first = FirstStart()
    return up_command(first.prepare, first.announce)


def _status() -> Loaded:
    from infra.cli.status import status

    return status


def _stop() -> Loaded:
    from infra.cli.stop import stop

    return stop


def _reset() -> Loaded:
    from infra.cli.reset import reset

    return reset


def _doctor() -> Loaded:
    from infra.cli.doctor import doctor_command
    from infra.cli.probes import drift, lag

    return doctor_command(lag, drift)


def _serve() -> Loaded:
    from infra.cli.serve import app

    return app


def _worker() -> Loaded:
    from infra.cli.worker import worker

    return worker


def _topics() -> Loaded:
    from infra.cli.topics import app

    return app


def _tables() -> Loaded:
    from infra.cli.tables import app

    return app


def _apply() -> Loaded:
    from infra.cli.apply import apply

    return apply


def _key() -> Loaded:
    from infra.cli.key import app

    return app


def _send() -> Loaded:
    from infra.cli.send import send

    return send


def _dlq() -> Loaded:
    from infra.cli.dlq import app

    return app


def _demo() -> Loaded:
    from infra.cli.demo import demo

    return demo


def _recompute() -> Loaded:
    from infra.cli.recompute import recompute

    return recompute


def _bench() -> Loaded:
    from infra.cli.bench import bench

    return bench


COMMANDS: dict[str, Callable[[], Loaded]] = {
    "up": _up,
    "status": _status,
    "stop": _stop,
    "reset": _reset,
    "doctor": _doctor,
    "demo": _demo,
    "send": _send,
    "apply": _apply,
    "key": _key,
    "dlq": _dlq,
    "recompute": _recompute,
    "topics": _topics,
    "tables": _tables,
    "serve": _serve,
    "worker": _worker,
    "bench": _bench,
}
"""Every subcommand in the order of the help, with what reads its file."""


class Commands(TyperGroup):
    """The group of all subcommands; a worker does not pay for what only `send` needs."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        load = COMMANDS.get(cmd_name)
        return None if load is None else _command(cmd_name, load())


def _command(name: str, loaded: Loaded) -> Any:
    if isinstance(loaded, typer.Typer):
        command = typer.main.get_command(loaded)
    else:
        single = typer.Typer(add_completion=False)
        single.command(name)(loaded)
        command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    name="millstream",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def millstream() -> None:
    """Millstream: events, telemetry and spans in; assignments, cardinality, cost and significance out, live."""
    from infra.runtime.logging import configure_logging
    from infra.runtime.settings import Settings

    configure_logging(Settings(), for_command=True)


def main() -> None:
    """The entry point of the console script."""
    app(prog_name="millstream")


if __name__ == "__main__":
    main()

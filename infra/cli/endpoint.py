"""Where a command finds the running platform, and the key it shows."""

import typer

from infra.embedded.stack import connect
from infra.runtime.settings import Settings


def settings_of_stack() -> Settings:
    """The settings with the addresses of the stack in the data folder."""
    return connect()


def main_url(settings: Settings) -> str:
    """Base address of the main port."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else "[::1]" if settings.host == "::" else settings.host
    return f"http://{host}:{settings.port.main}"


def api_key(settings: Settings, given: str | None) -> str:
    """The key given, else the preset one, else the one in the data folder. Ends the command with status 1 when there is none."""
    if given:
        return given
    if settings.bootstrap_api_key:
        return settings.bootstrap_api_key.get_secret_value().strip()
    path = settings.data_dir / "api_key"
    try:
        text = path.read_text("utf-8").strip()
    except OSError:
        text = ""
    if not text:
        typer.echo(f"No API key: give one with --key, or start the stack, which writes {path}.", err=True)
        raise typer.Exit(1)
    return text

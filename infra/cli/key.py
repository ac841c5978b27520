"""`millstream key`: make, list and revoke API keys."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
import typer

from infra.cli.control import on_store, print_json, print_table
from infra.runtime.clock import SystemClock
from infra.runtime.settings import Settings
from query_api.control.store import ControlStore
from query_api.domain.keys import CreatedKey, KeyView, create_key, list_keys, revoke_key

app = typer.Typer(name="key", help="Make, list and revoke API keys.", no_args_is_help=True)

TenantOption = Annotated[str | None, typer.Option("--tenant", help="Tenant of the key; the default tenant when left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; any text.")],
    tenant: TenantOption = None,
    role: Annotated[Literal["admin", "member", "ingest", "read"], typer.Option(help="What it may do: member = ingest and read.")] = "member",
    expires_days: Annotated[float | None, typer.Option(help="Days until it stops working; never when left out.", min=0)] = None,
    json: JsonOption = False,
) -> None:
    """Make a key and print it. It is shown only this once."""

    async def work(store: ControlStore, settings: Settings) -> CreatedKey:
        expires_at = _in_days(expires_days) if expires_days is not None else None
        return await create_key(store, tenant or settings.default_tenant, name, role=role, expires_at=expires_at)

    created = on_store(work)
    if json:
        print_json({"key": created.text, "id": created.key.id, "tenant": created.key.tenant, "name": created.key.name, "role": created.key.role})
    else:
        typer.echo(created.text)
        typer.echo(f"Key {created.key.id} of tenant {created.key.tenant}, role {created.key.role}. It is shown only now.", err=True)


@app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only keys of this tenant; all tenants when left out.")] = None, json: JsonOption = False
) -> None:
    """List keys, revoked ones too. Never shows what opens anything."""

    async def work(store: ControlStore, _settings: Settings) -> list[KeyView]:
        return await list_keys(store, tenant)

    keys = on_store(work)
    if json:
        print_json(keys)
    else:
        print_table(["tenant", "id", "name", "role", "valid", "expires_at", "revoked_at"], [msgspec.structs.asdict(key) for key in keys])


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `millstream key list` shows it.")], tenant: TenantOption = None, json: JsonOption = False
) -> None:
    """End a key for good. The running services refuse it within two seconds."""

    async def work(store: ControlStore, settings: Settings) -> KeyView:
        return await revoke_key(store, tenant or settings.default_tenant, key_id)

    key = on_store(work)
    if json:
        print_json(key)
    else:
        typer.echo(f"Key {key.id} of tenant {key.tenant} is revoked.")


def _in_days(days: float) -> datetime:
    return datetime.fromtimestamp(SystemClock().now_us() / 1_000_000, UTC) + timedelta(days=days)

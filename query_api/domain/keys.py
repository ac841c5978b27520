"""Making, listing and revoking API keys, and the first key of a new installation."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.errors import InvalidArgument, NotFound
from infra.runtime.settings import Settings
from query_api.control.audit import Actor, audited
from query_api.control.store import ControlStore, Draft
from schemas.api_keys import PRESET_MIN_LENGTH, hash_secret, make_key, parse_key, preset_id
from schemas.definition_kinds import Key, Role, Scope, Tenant, Tier, decode_definition, encode_definition
from schemas.definitions import DEFAULT_PRICE_LIST

COMMAND_LINE = Actor("", "command line")
"""Who the audit log names for what an operator does beside the API."""

KEY_FILE = "api_key"
"""Name of the file in the data folder that holds the first key."""


class CreatedKey(NamedTuple):
    """A new key. The text is shown once and kept nowhere."""

    key: Key
    text: str


class KeyView(msgspec.Struct, frozen=True):
    """A key as it may be shown: neither text nor hash."""

    tenant: str
    id: str
    name: str
    prefix: str
    role: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    revoked_at: datetime | None
    valid: bool
    """Whether it opens anything now."""


def new_key(
    tenant: str,
    name: str,
    text: str,
    role: Role = "member",
    scopes: tuple[Scope, ...] = (),
    expires_at: datetime | None = None,
    *,
    tier: Tier = "unlimited",
    user: str = "",
    created_at: datetime | None = None,
) -> Key:
    """The stored form of a key text. Raises `msgspec.ValidationError` for values that do not fit."""
    parts = parse_key(text)
    key_id = parts.id if parts else preset_id(text)
    # The start of a text somebody chose may be a good part of the secret.
    prefix = f"ms_{parts.id}" if parts else ""
    key = Key(
        tenant=tenant, id=key_id, name=name, sha256=hash_secret(text), prefix=prefix, role=role, scopes=scopes, expires_at=expires_at,
        tier=tier, user=user, created_at=created_at,
    )  # fmt: skip
    return msgspec.json.decode(encode_definition(key), type=Key)


async def create_key(
    store: ControlStore,
    tenant: str,
    name: str,
    *,
    role: Role = "member",
    scopes: tuple[Scope, ...] = (),
    expires_at: datetime | None = None,
    clock: Clock | None = None,
) -> CreatedKey:
    """Makes and stores a key for a program. Raises `NotFound` when the tenant is not defined, `InvalidArgument` for a wrong value."""
    if await store.get("tenant", tenant, tenant) is None:
        raise NotFound(f"Tenant {tenant!r} is not defined; apply `kind: tenant, id: {tenant}` first.")
    text = make_key()
    try:
        key = new_key(tenant, name, text, role, scopes, expires_at, created_at=_now(clock))
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"The key cannot be made: {error}") from error
    await store.write([Draft("key", tenant, key.id, encode_definition(key), 0)], [audited(COMMAND_LINE, "key.created", None, key)])
    return CreatedKey(key, text)


async def list_keys(store: ControlStore, tenant: str | None = None, clock: Clock | None = None) -> list[KeyView]:
    """All keys of a tenant, of every tenant when None, by tenant and id; revoked ones too."""
    now_us = (clock or SystemClock()).now_us()
    return [view(_key(record.payload), now_us) for record in await store.every("key", tenant)]


async def revoke_key(store: ControlStore, tenant: str, key_id: str, clock: Clock | None = None) -> KeyView:
    """Ends a key at once and for good. Revoking again changes nothing. Raises `NotFound`."""
    record = await store.get("key", tenant, key_id)
    if record is None:
        raise NotFound(f"Tenant {tenant!r} has no key {key_id!r}; `millstream key list` shows the ids.")
    now_us = (clock or SystemClock()).now_us()
    key = _key(record.payload)
    if key.revoked_at is None:
        before, key = key, msgspec.structs.replace(key, revoked_at=_now(clock))
        await store.write([Draft("key", tenant, key_id, encode_definition(key), record.version)], [audited(COMMAND_LINE, "key.revoked", before, key)])
    return view(key, now_us)


def view(key: Key, now_us: int) -> KeyView:
    """The part of a key that may be shown."""
    scopes = tuple(scope for scope in ("admin", "ingest", "read") if key.allows(scope))
    return KeyView(key.tenant, key.id, key.name, key.prefix, key.role, scopes, key.expires_at, key.revoked_at, key.valid_at(now_us))


async def ensure_bootstrap(store: ControlStore, settings: Settings, clock: Clock | None = None) -> str | None:
    """Gives a new installation its default tenant, first key and default price list. Call it at every start, from one process.

    Returns the text of the first key while it is known and valid: the preset, or what the key file in the data folder
    (mode 0600) holds. None when keys exist but the file is gone. Never brings back a key that was revoked. Raises `InvalidArgument` for a preset that is too short.
    """
    tenant, now_us = settings.default_tenant, (clock or SystemClock()).now_us()
    preset = settings.bootstrap_api_key.get_secret_value().strip() if settings.bootstrap_api_key else ""
    if preset and len(preset) < PRESET_MIN_LENGTH:
        raise InvalidArgument(f"MILLSTREAM_BOOTSTRAP_API_KEY has {len(preset)} characters; a key needs at least {PRESET_MIN_LENGTH}.")
    drafts = []
    if await store.get("tenant", tenant, tenant) is None:
        drafts.append(Draft("tenant", tenant, tenant, encode_definition(Tenant(tenant, tenant))))
    if not await store.every("price_list", tenant):
        prices = msgspec.structs.replace(DEFAULT_PRICE_LIST, tenant=tenant)
        drafts.append(Draft("price_list", tenant, prices.id, encode_definition(prices)))
    keys = {key.sha256: key for key in (_key(record.payload) for record in await store.every("key"))}
    path = settings.data_dir / KEY_FILE
    text = preset or _read(path) or ("" if keys else make_key())
    known = keys.get(hash_secret(text)) if text else None
    if text and known is None and (preset or not keys):
        # The file first: a key in the store whose text nobody has would lock everybody out.
        known = new_key(tenant, "bootstrap", text, role="admin", created_at=_now(clock))
        _write(path, text)
        drafts.append(Draft("key", tenant, known.id, encode_definition(known)))
    elif preset and known is not None and known.valid_at(now_us) and _read(path) != preset:
        _write(path, preset)
    await store.write(drafts)
    return text if known is not None and known.valid_at(now_us) else None


def _now(clock: Clock | None) -> datetime:
    return datetime.fromtimestamp((clock or SystemClock()).now_us() / 1_000_000, UTC)


def _key(payload: str) -> Key:
    key = decode_definition("key", payload)
    assert isinstance(key, Key)
    return key


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)

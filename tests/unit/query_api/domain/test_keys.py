"""Keys are shown once, stored as hashes, and revoked for good."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.runtime.clock import SystemClock
from infra.runtime.errors import InvalidArgument, NotFound
from infra.runtime.settings import Settings
from query_api.control.store import ControlStore
from query_api.domain.keys import KEY_FILE, create_key, ensure_bootstrap, list_keys, revoke_key
from schemas.definitions import Definitions

PRESET = "correct horse battery staple"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ControlStore]:
    store = ControlStore(f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3")
    await store.migrate()
    yield store
    await store.close()


def settings(folder: Path, preset: str | None = None) -> Settings:
    return Settings(data_dir=folder, bootstrap_api_key=SecretStr(preset) if preset else None, default_tenant="default")


async def followed(store: ControlStore) -> Definitions:
    """What a follower of the control topic would hold."""
    definitions = Definitions()
    for waiting in await store.unpublished(1_000):
        definitions.apply(waiting.record)
    return definitions


async def opens(store: ControlStore, text: str) -> bool:
    return (await followed(store)).key_for(text, SystemClock().now_us()) is not None


async def test_a_key_opens_until_it_is_revoked_and_its_text_is_nowhere(store: ControlStore, tmp_path: Path) -> None:
    await ensure_bootstrap(store, settings(tmp_path))
    created = await create_key(store, "default", "ci", role="ingest")
    assert await opens(store, created.text)
    listed = await list_keys(store, "default")
    assert {key.name for key in listed} == {"bootstrap", "ci"} and all(key.valid for key in listed)
    assert created.text not in repr(listed) and created.key.sha256 not in repr(listed)
    assert all(created.text.encode() not in path.read_bytes() for path in tmp_path.glob("control.sqlite3*"))

    revoked = await revoke_key(store, "default", created.key.id)
    assert revoked.revoked_at is not None and not revoked.valid
    assert (await revoke_key(store, "default", created.key.id)).revoked_at == revoked.revoked_at
    assert not await opens(store, created.text)


async def test_wrong_requests_for_keys_say_what_to_do(store: ControlStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="kind: tenant, id: nobody"):
        await create_key(store, "nobody", "ci")
    await ensure_bootstrap(store, settings(tmp_path))
    with pytest.raises(InvalidArgument, match="name"):
        await create_key(store, "default", "")
    with pytest.raises(NotFound, match="key list"):
        await revoke_key(store, "default", "missing")
    expired = await create_key(store, "default", "old", expires_at=datetime.now(UTC) - timedelta(days=1))
    assert not await opens(store, expired.text)


async def test_the_first_start_makes_tenant_key_and_prices_and_later_ones_nothing(store: ControlStore, tmp_path: Path) -> None:
    text = await ensure_bootstrap(store, settings(tmp_path))
    path = tmp_path / KEY_FILE
    assert text and path.read_text().strip() == text and path.stat().st_mode & 0o777 == 0o600
    definitions = await followed(store)
    key = definitions.key_for(text, SystemClock().now_us())
    assert key is not None and key.allows("admin") and definitions.tenant("default") is not None and len(definitions.price_lists("default")) == 1
    before = await store.waiting()
    assert await ensure_bootstrap(store, settings(tmp_path)) == text and await store.waiting() == before


async def test_a_preset_of_any_form_becomes_the_first_key(store: ControlStore, tmp_path: Path) -> None:
    assert await ensure_bootstrap(store, settings(tmp_path, PRESET)) == PRESET
    assert (tmp_path / KEY_FILE).read_text().strip() == PRESET and await opens(store, PRESET)
    (key,) = await list_keys(store)
    assert key.prefix == "" and PRESET not in repr(key)
    assert await ensure_bootstrap(store, settings(tmp_path, PRESET)) == PRESET and len(await list_keys(store)) == 1
    with pytest.raises(InvalidArgument, match="at least 16"):
        await ensure_bootstrap(store, settings(tmp_path, "short"))


async def test_a_revoked_first_key_stays_revoked(store: ControlStore, tmp_path: Path) -> None:
    await ensure_bootstrap(store, settings(tmp_path, PRESET))
    (key,) = await list_keys(store)
    await revoke_key(store, "default", key.id)
    assert await ensure_bootstrap(store, settings(tmp_path, PRESET)) is None
    assert await ensure_bootstrap(store, settings(tmp_path)) is None
    assert not await opens(store, PRESET)


async def test_a_start_that_died_after_writing_the_file_is_completed(store: ControlStore, tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("written before the store was\n")
    assert await ensure_bootstrap(store, settings(tmp_path)) == "written before the store was"
    assert await opens(store, "written before the store was")


async def test_a_lost_file_does_not_make_another_key(store: ControlStore, tmp_path: Path) -> None:
    await ensure_bootstrap(store, settings(tmp_path))
    (tmp_path / KEY_FILE).unlink()
    assert await ensure_bootstrap(store, settings(tmp_path)) is None and len(await list_keys(store)) == 1

"""A document of definitions is applied whole or not at all, and every error names its place and its fix."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import InvalidArgument, ValidationFailed
from query_api.control.audit import AuditFilter
from query_api.control.store import ControlStore
from query_api.domain.definitions import Applied, apply_documents, parse_documents
from query_api.domain.keys import revoke_key
from schemas.definitions import Definitions

DOCUMENT = """
- kind: tenant
  id: shop
- kind: experiment
  tenant: shop
  id: checkout
  variants:
    - {name: old, weight: 1, control: true}
    - {name: new, weight: 3}
  metrics: [bought, revenue]
  starts_at: 2026-01-01
---
kind: metric
tenant: shop
id: bought
event_type: purchase
---
- {kind: metric, tenant: shop, id: revenue, event_type: purchase, type: mean}
- kind: price_list
  tenant: shop
  name: house
  version: 1
  effective_from: 2026-02-01T00:00:00+02:00
  llm: [{provider: "*", model: "*", input: 1, output: 2}]
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ControlStore]:
    store = ControlStore(f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3")
    await store.migrate()
    yield store
    await store.close()


async def run(store: ControlStore, text: str, dry_run: bool = False) -> list[Applied]:
    return await apply_documents(store, parse_documents(text), default_tenant="default", dry_run=dry_run)


async def refused(store: ControlStore, text: str) -> list[str]:
    before = await store.waiting()
    with pytest.raises(ValidationFailed) as caught:
        await run(store, text)
    assert await store.waiting() == before
    return [f"{error['path']}: {error['message']}" for error in caught.value.details["errors"]]


async def test_a_document_is_applied_and_applying_it_again_changes_nothing(store: ControlStore) -> None:
    dry = await run(store, DOCUMENT, dry_run=True)
    assert {each.action for each in dry} == {"created"} and {each.version for each in dry} == {0} and await store.waiting() == 0
    applied = await run(store, DOCUMENT)
    assert [(each.kind, each.id, each.action, each.version) for each in applied] == [
        ("tenant", "shop", "created", 1),
        ("experiment", "checkout", "created", 1),
        ("metric", "bought", "created", 1),
        ("metric", "revenue", "created", 1),
        ("price_list", "house@1", "created", 1),
    ]
    assert {each.action for each in await run(store, DOCUMENT)} == {"unchanged"} and await store.waiting() == 5
    log = (await store.audit_log("shop", AuditFilter())).records
    assert {line.entry.action for line in log} == {f"{kind}.created" for kind in ("tenant", "experiment", "metric", "price_list")} and len(log) == 5
    assert {line.entry.actor.key_name for line in log} == {"command line"}
    definitions = Definitions()
    for waiting in await store.unpublished():
        assert definitions.apply(waiting.record)
    experiment = definitions.experiment("shop", "checkout")
    assert experiment is not None and experiment.control == "old" and experiment.starts_at is not None and experiment.starts_at.year == 2026


async def test_an_update_says_what_changed_and_a_deletion_removes(store: ControlStore) -> None:
    await run(store, DOCUMENT)
    (changed,) = await run(store, "{kind: metric, tenant: shop, id: bought, event_type: order}")
    assert changed.action == "updated" and changed.version == 2 and changed.changes == {"event_type": ("purchase", "order")}
    (gone,) = await run(store, "{kind: metric, tenant: shop, id: bought, delete: true}")
    assert gone.action == "deleted" and await store.get("metric", "shop", "bought") is None
    (absent,) = await run(store, "{kind: metric, tenant: shop, id: bought, delete: true}")
    assert absent.action == "unchanged"
    (again,) = await run(store, "{kind: metric, tenant: shop, id: bought, event_type: order}")
    assert again.action == "created" and again.version == 4


async def test_a_key_is_made_once_and_a_revoked_one_stays_revoked(store: ControlStore) -> None:
    text = "- {kind: tenant, id: shop}\n- {kind: key, tenant: shop, id: ci, role: ingest}"
    assert (await run(store, text, dry_run=True))[1].key is None
    made = (await run(store, text))[1]
    assert made.key is not None
    assert [(each.action, each.key) for each in await run(store, text)] == [("unchanged", None), ("unchanged", None)]
    await revoke_key(store, "shop", "ci")
    assert (await run(store, text))[1].action == "unchanged"
    definitions = Definitions()
    for waiting in await store.unpublished():
        definitions.apply(waiting.record)
    assert definitions.key_for(made.key, SystemClock().now_us()) is None


async def test_two_keys_cannot_share_a_text(store: ControlStore) -> None:
    await run(store, f"- {{kind: tenant, id: shop}}\n- {{kind: key, tenant: shop, id: a, sha256: {'0a' * 32}}}")
    (error,) = await refused(store, f"{{kind: key, tenant: shop, id: b, sha256: {'0a' * 32}}}")
    assert "key 'a' has the same" in error


async def test_every_error_is_reported_with_its_place_and_fix(store: ControlStore) -> None:
    errors = await refused(
        store,
        """
        - {kind: tenant, id: shop}
        - {kind: hologram, id: x}
        - {kind: metric, tenant: shop, id: a, event_typ: purchase}
        - {kind: metric, tenant: shop, id: b, event_type: purchase, type: median}
        - {kind: metric, tenant: shop, event_type: purchase}
        - {kind: experiment, tenant: shop, id: e, metrics: [nothing]}
        - {kind: metric, tenant: other, id: c, event_type: purchase}
        - {kind: tenant, id: shop}
        - just text
        """,
    )
    wanted = ["[1]", "hologram", "[2]", "did you mean `event_type`", "[3]", "type", "[4]", "id: a metric needs one", "[7]", "twice", "[8]", "mapping"]
    wanted += ["[5] experiment e: metrics[0]: 'nothing' is not defined", "[6] metric c: tenant: 'other' is not defined"]
    joined = "\n".join(errors)
    assert all(part in joined for part in wanted), joined


@pytest.mark.parametrize("text", ["a: [", "", "# nothing"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_documents(text)


async def test_a_flag_key_and_an_address_belong_to_one_definition(store: ControlStore) -> None:
    both = "variations: [{id: a, key: 'on', value: 1}, {id: b, key: 'off', value: 0}]"
    await run(
        store,
        f"""
- {{kind: tenant, id: default}}
- {{kind: flag, key: dark, {both}}}
- {{kind: flag, key: Dark, {both}}}
- {{kind: user, email: Ada@example.com, name: Ada, role: admin}}
""",
    )
    errors = await refused(
        store,
        f"""
- {{kind: flag, id: mine, key: dark, {both}}}
- {{kind: flag, id: one, key: twice, {both}}}
- {{kind: flag, id: two, key: twice, {both}}}
- {{kind: user, id: ada, email: ada@example.com, name: Ada, role: admin}}
""",
    )
    assert [error.partition(";")[0].partition(":")[0] for error in errors] == ["[0] flag mine", "[1] flag one", "[2] flag two", "[3] user ada"]
    assert "key: flag 'flag_" in errors[0] and "email: user 'usr_" in errors[3]

"""Applying a document of definitions: check everything, say what would change, then change all of it or nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any, Literal

import msgspec
import yaml

from infra.runtime.errors import InvalidArgument, ValidationFailed
from query_api.control.audit import audited
from query_api.control.store import ControlStore, Draft
from query_api.domain.keys import COMMAND_LINE
from query_api.domain.pinning import released
from schemas.api_keys import hash_secret, make_key
from schemas.definition_kinds import KINDS, TYPES, Definition, DefinitionKind, Experiment, Key, Tenant, convert_definition, encode_definition
from schemas.flag import flag_id
from schemas.user import user_id

_KINDS = tuple(kind for kind in KINDS if kind != "pins")
"""Pins are made with an experiment and never by hand."""
Action = Literal["created", "updated", "unchanged", "deleted"]
Document = Mapping[str, Any]


class Applied(msgspec.Struct, frozen=True):
    """What happened, or would happen, to one definition."""

    kind: DefinitionKind
    tenant: str
    id: str
    action: Action
    version: int
    """Version now stored; 0 when there is none yet."""
    changes: dict[str, tuple[Any, Any]]
    """Fields that differ, with the value before and after; of an update only."""
    key: str | None = None
    """Text of a key that was just made; shown this once."""


def parse_documents(text: str) -> list[Document]:
    """The definitions in a YAML text: a list, one mapping, or several documents of either. Raises `InvalidArgument`."""
    try:
        parts = [part for part in yaml.safe_load_all(text) if part is not None]
    except yaml.YAMLError as error:
        raise InvalidArgument(f"This is not YAML: {error}") from error
    documents = [each for part in parts for each in (part if isinstance(part, list) else [part])]
    if not documents:
        raise InvalidArgument("The file defines nothing; write a list of entries such as `- {kind: tenant, id: shop}`.")
    return documents


async def apply_documents(store: ControlStore, documents: Sequence[Any], *, default_tenant: str, dry_run: bool = False) -> list[Applied]:
    """Brings the store to what the documents say; definitions they do not name stay as they are.

    Each is `{kind, ...fields}`; `tenant` may be left out for the default tenant, `delete: true` removes. Applying the same
    again changes nothing. With `dry_run` nothing is written. Raises `ValidationFailed` with every error, each with its
    path and the fix, in `details["errors"]`; then nothing was written.
    """
    errors: list[dict[str, str]] = []
    plans: dict[tuple[str, str, str], _Plan] = {}
    for index, document in enumerate(documents):
        if not isinstance(document, Mapping):
            errors.append(_error(index, document, "must be a mapping such as `{kind: metric, id: ...}`"))
            continue
        try:
            plan = await _plan(store, index, document, default_tenant)
        except ValueError as error:
            errors.append(_error(index, document, str(error)))
            continue
        if plan.address in plans:
            errors.append(_error(index, document, "is defined twice in this document; remove one"))
        plans[plan.address] = plan
    for plan in plans.values():
        errors += [_error(plan.index, plan.document, problem) for problem in await _dangling(store, plan, plans)]
    if errors:
        lines = "; ".join(f"{error['path']}: {error['message']}" for error in errors)
        raise ValidationFailed(f"Nothing was applied. {lines}", details={"errors": errors})
    changed = [plan for plan in plans.values() if plan.action != "unchanged"]
    if changed and not dry_run:
        drafts = [Draft(*plan.address, encode_definition(plan.after) if plan.after else None, plan.expected) for plan in changed]
        pins = [draft for plan in changed if isinstance(plan.before, Experiment) and plan.after is None for draft in released(plan.before).drafts]
        audit = [audited(COMMAND_LINE, f"{plan.kind}.{plan.action}", plan.before, plan.after) for plan in changed]
        versions = await store.write([*drafts, *pins], audit)
        for plan, version in zip(changed, versions[: len(changed)], strict=True):
            plan.version = version
    return [plan.applied(dry_run) for plan in plans.values()]


class _Plan(msgspec.Struct):
    """What applying one document means."""

    index: int
    """Place in the list of documents."""
    document: Document
    kind: DefinitionKind
    tenant: str
    id: str
    before: Definition | None
    after: Definition | None
    expected: int
    """Version the plan was made from; 0 when there is none."""
    key: str | None = None
    version: int = 0
    """Version after the change, once it was made."""

    @property
    def address(self) -> tuple[str, str, str]:
        return (self.kind, self.tenant, self.id)

    @property
    def action(self) -> Action:
        if self.before == self.after:
            return "unchanged"
        if self.after is None:
            return "deleted"
        return "updated" if self.before else "created"

    def applied(self, dry_run: bool) -> Applied:
        changes: dict[str, tuple[Any, Any]] = {}
        if self.before and self.after:
            old, new = (msgspec.to_builtins(each) for each in (self.before, self.after))
            changes = {name: (old.get(name), new[name]) for name in new if old.get(name) != new[name]}
            if "sha256" in changes:
                changes["sha256"] = ("(hidden)", "(hidden)")
        return Applied(self.kind, self.tenant, self.id, self.action, self.version or self.expected, changes, None if dry_run else self.key)


async def _plan(store: ControlStore, index: int, document: Document, default_tenant: str) -> _Plan:
    """Raises ValueError with the reason and the fix."""
    values = {str(name): _plain(value) for name, value in document.items() if name not in ("kind", "delete")}
    kind = next((kind for kind in _KINDS if kind == document.get("kind")), None)
    if kind is None:
        raise ValueError(f"kind: {document.get('kind')!r} is not a kind; use one of {', '.join(_KINDS)}")
    allowed = TYPES[kind].__struct_encode_fields__
    for name in values:
        if name not in allowed and not (kind == "price_list" and name == "id"):
            near = get_close_matches(name, allowed, 1)
            raise ValueError(f"{name}: a {kind} has no such field; " + (f"did you mean `{near[0]}`?" if near else f"it has {', '.join(allowed)}"))
    _fill(kind, values, default_tenant)
    tenant, name = str(values["id"] if kind == "tenant" else values["tenant"]), _id_of(kind, values)
    stored = await store.get(kind, tenant, name)
    before = msgspec.json.decode(stored.payload, type=TYPES[kind]) if stored else None
    version = stored.version if stored else 0
    if document.get("delete"):
        return _Plan(index, document, kind, tenant, name, before, None, version)
    text: str | None = None
    if isinstance(before, Key):
        # What a document does not say about a key stays, above all that it was revoked.
        values = {**{field: getattr(before, field) for field in ("sha256", "prefix", "revoked_at")}, **values}
    elif isinstance(before, Experiment):
        values.setdefault("pinned", before.pinned)
    elif kind == "key" and "sha256" not in values:
        text = make_key()
        values |= {"sha256": hash_secret(text), "prefix": text[:15]}
    after = convert_definition(kind, values)
    return _Plan(index, document, kind, tenant, name, before, after, version, text)


def _fill(kind: DefinitionKind, values: dict[str, Any], default_tenant: str) -> None:
    """Fills in what may be left out. Raises ValueError for what may not."""
    if kind == "flag" and isinstance(values.get("key"), str):
        values.setdefault("id", flag_id(values["key"]))
    if kind == "user" and isinstance(values.get("email"), str):
        values.setdefault("id", user_id(values["email"]))
    if kind == "price_list":
        values.pop("id", None)
    elif not values.get("id"):
        raise ValueError(f"id: a {kind} needs one; add `id: ...`")
    if kind == "tenant":
        values.setdefault("name", values["id"])
        return
    values.setdefault("tenant", default_tenant)
    if kind in ("key", "experiment", "metric"):
        values.setdefault("name", values["id"])


def _id_of(kind: DefinitionKind, values: Mapping[str, Any]) -> str:
    return f"{values.get('name')}@{values.get('version')}" if kind == "price_list" else str(values["id"])


async def _dangling(store: ControlStore, plan: _Plan, plans: Mapping[tuple[str, str, str], _Plan]) -> list[str]:
    """What a definition names but nothing defines."""

    async def there(kind: DefinitionKind, tenant: str, name: str) -> bool:
        planned = plans.get((kind, tenant, name))
        return planned.after is not None if planned else await store.get(kind, tenant, name) is not None

    if plan.after is None:
        return []
    problems = []
    if not isinstance(plan.after, Tenant) and not await there("tenant", plan.tenant, plan.tenant):
        problems.append(f"tenant: {plan.tenant!r} is not defined; add `- {{kind: tenant, id: {plan.tenant}}}`")
    if isinstance(plan.after, Experiment):
        for place, metric in enumerate(plan.after.metrics):
            if not await there("metric", plan.tenant, metric):
                problems.append(f"metrics[{place}]: {metric!r} is not defined; add `- {{kind: metric, id: {metric}, event_type: ...}}`")
    if isinstance(plan.after, Key) and not isinstance(plan.before, Key):
        for record in await store.every("key"):
            if f'"{plan.after.sha256}"' in record.payload:
                problems.append(f"sha256: key {record.id!r} has the same; every key needs a text of its own")
    problems += await _taken(store, plan, plans)
    return problems


async def _taken(store: ControlStore, plan: _Plan, plans: Mapping[tuple[str, str, str], _Plan]) -> list[str]:
    """What only one definition of a tenant may have, and another one has: the key of a flag, the address of a user."""
    name = {"flag": "key", "user": "email"}.get(plan.kind)
    if name is None:
        return []
    stored = {record.id: msgspec.json.decode(record.payload, type=TYPES[plan.kind]) for record in await store.every(plan.kind, plan.tenant)}
    planned = {other.id: other.after for other in plans.values() if (other.kind, other.tenant) == (plan.kind, plan.tenant)}
    same = str.lower if plan.kind == "user" else str
    wanted = same(getattr(plan.after, name))
    others = [owner for owner, each in (stored | planned).items() if owner != plan.id and each is not None and same(getattr(each, name)) == wanted]
    return [f"{name}: {plan.kind} {owner!r} has the same; choose another or leave `id` out" for owner in others]


def _plain(value: Any) -> Any:
    """YAML's times, always with a zone: what names none is UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def _error(index: int, document: Any, message: str) -> dict[str, str]:
    kind, name = (document.get("kind"), document.get("id", document.get("name"))) if isinstance(document, Mapping) else (None, None)
    return {"path": f"[{index}]" + (f" {kind} {name}" if kind and name else ""), "message": message}

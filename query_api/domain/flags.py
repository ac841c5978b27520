"""Feature flags: listed, read, created, changed, toggled and deleted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from infra.runtime.errors import Conflict
from query_api.access import Caller
from query_api.control.audit import audited
from query_api.control.store import Draft
from query_api.domain.change import built, change, existing, missing, wrong_field
from query_api.domain.json_values import check_json
from query_api.domain.stored import StoredDefinitions, new_id
from query_api.parts import Parts
from schemas.definition_kinds import Experiment, encode_definition
from schemas.flag import Flag, flag_id
from schemas.targeting import Rule

Fields = Mapping[str, Any]
"""Fields of a flag as a client writes them, only those that were given."""
_ON_OFF = ({"key": "on", "value": True}, {"key": "off", "value": False})
_PLAIN = ("name", "description", "enabled", "default_rule")
"""Fields that are stored as they are written."""


async def list_flags(stored: StoredDefinitions, tenant: str, enabled: bool | None) -> list[Flag]:
    """The flags of a tenant, newest first."""
    flags = [each.definition for each in await stored.every(Flag, tenant)]
    wanted = [flag for flag in flags if enabled in (None, flag.enabled)]
    return sorted(wanted, key=lambda flag: (flag.created_at is not None, flag.created_at, flag.id), reverse=True)


async def get_flag(stored: StoredDefinitions, tenant: str, name: str) -> Flag:
    """One flag by its id. Raises `NotFound`."""
    found = await stored.get(Flag, tenant, name)
    if found is None:
        raise missing("flag", name)
    return found.definition


async def create_flag(parts: Parts, caller: Caller, fields: Fields) -> Flag:
    """Stores a new flag. Raises `Conflict` when the key is taken, `ValidationFailed` for a wrong field."""
    stored, key = parts.stored, fields["key"]
    now = stored.now()
    await _check_experiment(stored, caller.tenant, fields)
    start = {"tenant": caller.tenant, "id": flag_id(key), "key": key, "name": key, "variations": _variations(_ON_OFF, None), "created_at": now}
    flag = _flag(start, fields, None, now)
    taken = parts.definitions.flag_by_key(caller.tenant, key)
    if taken is not None and taken.id != flag.id and await stored.get_stored(Flag, caller.tenant, taken.id) is not None:
        raise _taken(key, taken.id)
    try:
        await stored.write([Draft("flag", caller.tenant, flag.id, encode_definition(flag), 0)], [audited(caller.actor, "flag.created", None, flag)])
    except Conflict as error:
        raise _taken(key, flag.id) from error
    return flag


async def update_flag(parts: Parts, caller: Caller, name: str, fields: Fields) -> Flag:
    """Changes the fields given. Rules and variations keep their ids where they say the same as before, so that no unit moves.

    Raises `NotFound`, `ValidationFailed`, and `Conflict` for another key."""
    stored = parts.stored
    await _check_experiment(stored, caller.tenant, fields)

    def alter(before: Flag) -> Flag:
        if fields.get("key", before.key) != before.key:
            raise Conflict(f"key: the flag {before.key!r} keeps its key, because clients ask for it; create another flag", details={"key": before.key})
        return _flag(_builtins(before), fields, before, stored.now())

    return await change(stored, Flag, caller.tenant, name, caller.actor, "flag.updated", alter)


async def toggle_flag(parts: Parts, caller: Caller, name: str, enabled: bool) -> Flag:
    """Makes the flag enabled or not; one that is so already stays as it is. Raises `NotFound`."""
    stored = parts.stored

    def alter(before: Flag) -> Flag:
        return before if before.enabled == enabled else msgspec.structs.replace(before, enabled=enabled, updated_at=stored.now())

    return await change(stored, Flag, caller.tenant, name, caller.actor, "flag.toggled", alter)


async def delete_flag(parts: Parts, caller: Caller, name: str) -> None:
    """Removes a flag; its key may be given again. Raises `NotFound`."""
    stored = parts.stored
    found = await existing(stored, Flag, caller.tenant, name)
    await stored.write([Draft("flag", caller.tenant, name, None, found.version)], [audited(caller.actor, "flag.deleted", found.definition, None)])


def _flag(start: dict[str, Any], fields: Fields, before: Flag | None, now: datetime) -> Flag:
    for name in ("variations", "rules"):
        for place, each in enumerate(fields.get(name, ())):
            check_json(each, f"{name}[{place}]")
    values = start | {name: fields[name] for name in _PLAIN if name in fields} | {"updated_at": now}
    if "experiment_id" in fields:
        values["experiment"] = fields["experiment_id"] or ""
    if "variations" in fields:
        values["variations"] = _variations(fields["variations"], before)
    if "rules" in fields:
        values["rules"] = _rules(fields["rules"], before)
    flag = built(Flag, values)
    return before if before is not None and msgspec.structs.replace(flag, updated_at=before.updated_at) == before else flag


def _variations(given: Sequence[Fields], before: Flag | None) -> list[dict[str, Any]]:
    known = {variation.key: variation.id for variation in before.variations} if before else {}
    return [{"id": known.get(each["key"]) or new_id("var"), "key": each["key"], "value": each["value"]} for each in given]


def _rules(given: Sequence[Fields], before: Flag | None) -> list[dict[str, Any]]:
    free = {rule.id: rule.rule for rule in before.rules} if before else {}
    for place, each in enumerate(given):
        if each.get("id") and free.pop(each["id"], None) is None:
            raise wrong_field(f"rules[{place}].id: this flag has no other rule {each['id']!r}; leave `id` out of a new rule")
    return [
        {
            "id": each.get("id") or _same(free, rule) or new_id("rule"),
            "rule": rule,
            "rollout_percentage": each.get("rollout_percentage", 100.0),
            "variation": each.get("variation", ""),
        }
        for each, rule in ((each, _condition(each)) for each in given)
    ]


def _condition(given: Fields) -> Rule:
    return built(Rule, {name: given[name] for name in ("operator", "attribute", "value", "rules") if name in given})


def _same(free: dict[str, Rule], rule: Rule) -> str | None:
    """Takes the id of an old rule that says the same out of `free`."""
    found = next((name for name, old in free.items() if old == rule), None)
    if found:
        del free[found]
    return found


def _builtins(flag: Flag) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(flag)
    return plain


async def _check_experiment(stored: StoredDefinitions, tenant: str, fields: Fields) -> None:
    name = fields.get("experiment_id")
    if name and await stored.get_stored(Experiment, tenant, name) is None:
        raise wrong_field(f"experiment_id: there is no experiment {name!r}; create it first")


def _taken(key: str, owner: str) -> Conflict:
    return Conflict(f"key: {key!r} is the key of the flag {owner} already; choose another or change that flag", details={"key": key, "id": owner})

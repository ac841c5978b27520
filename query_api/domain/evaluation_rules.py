"""Rules of online evaluation: listed, read, created, replaced and deleted."""

from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, get_args

import msgspec

from infra.runtime.errors import Conflict
from query_api.access import Caller
from query_api.control.audit import audited
from query_api.control.store import Draft
from query_api.domain.change import built, change, existing, missing, wrong_field
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.json_values import check_json
from query_api.domain.projects import Projects
from query_api.domain.stored import StoredDefinitions, new_id
from query_api.parts import Parts
from query_api.surfaces.policy import Page
from schemas.definition_kinds import encode_definition
from schemas.evaluation_rule import Alert, EvaluationRule
from schemas.evaluators.catalogue import Evaluator
from schemas.evaluators.judge import Budget, Judge
from schemas.global_id import parse

MAX_RULES: Final = 200
"""Per tenant; each looks at every span."""
Fields = Mapping[str, Any]
"""Fields of a rule as a client writes them, only those that were given."""
_EVALUATORS: Final[Mapping[str, type[msgspec.Struct]]] = {cls.__struct_config__.tag: cls for cls in get_args(Evaluator)}


async def list_rules(stored: StoredDefinitions, tenant: str, *, limit: int, cursor: str | None) -> Page:
    """One page of a tenant's rules, by id. Raises ValidationFailed for a foreign cursor."""
    after = decode_cursor(cursor, tuple[str])[0] if cursor else ""
    rules = [each.definition for each in await stored.every(EvaluationRule, tenant) if each.definition.id > after]
    page = rules[:limit]
    return Page([rule_json(rule) for rule in page], encode_cursor((page[-1].id,)) if len(rules) > limit else None)


async def get_rule(stored: StoredDefinitions, tenant: str, name: str) -> EvaluationRule:
    """One rule by its id. Raises NotFound."""
    found = await stored.get(EvaluationRule, tenant, name)
    if found is None:
        raise missing("evaluation rule", name)
    return found.definition


async def create_rule(parts: Parts, caller: Caller, fields: Fields) -> EvaluationRule:
    """Stores a new rule. Raises Conflict when its id is taken or there are too many, ValidationFailed for a wrong field."""
    stored = parts.stored
    now = stored.now()
    rule = await made_rule(parts, caller.tenant, {"id": new_id("rule"), **fields}, now, now)
    if len(await stored.every(EvaluationRule, caller.tenant)) >= MAX_RULES:
        raise Conflict(f"There are {MAX_RULES} evaluation rules already, which is the limit; delete one first.", details={"limit": MAX_RULES})
    draft = Draft("evaluation_rule", caller.tenant, rule.id, encode_definition(rule), 0)
    try:
        await stored.write([draft], [audited(caller.actor, "evaluation_rule.created", None, rule)])
    except Conflict as error:
        raise Conflict(f"id: there is a rule {rule.id!r} already; choose another id or leave it out", details={"id": rule.id}) from error
    return rule


async def replace_rule(parts: Parts, caller: Caller, name: str, fields: Fields) -> EvaluationRule:
    """Makes a rule what the fields say; those left out take their defaults. Raises NotFound and ValidationFailed."""
    if fields.get("id", name) != name:
        raise wrong_field(f"id: the rule {name!r} keeps its id, because its annotations carry it; leave it out")
    stored = parts.stored
    created = (await existing(stored, EvaluationRule, caller.tenant, name)).definition.created_at
    after = await made_rule(parts, caller.tenant, {**fields, "id": name}, created, stored.now())

    def alter(before: EvaluationRule) -> EvaluationRule:
        return before if msgspec.structs.replace(after, updated_at=before.updated_at) == before else after

    return await change(stored, EvaluationRule, caller.tenant, name, caller.actor, "evaluation_rule.updated", alter)


async def delete_rule(parts: Parts, caller: Caller, name: str) -> None:
    """Removes a rule; what it said stays, what it has not judged yet is not judged. Raises NotFound."""
    found = await existing(parts.stored, EvaluationRule, caller.tenant, name)
    draft = Draft("evaluation_rule", caller.tenant, name, None, found.version)
    await parts.stored.write([draft], [audited(caller.actor, "evaluation_rule.deleted", found.definition, None)])


async def made_rule(parts: Parts, tenant: str, fields: Fields, created: datetime | None, updated: datetime | None) -> EvaluationRule:
    """The rule that fields say. Raises ValidationFailed with the path of what is wrong."""
    check_json(fields, "rule")
    values: dict[str, Any] = {**fields, "tenant": tenant, "created_at": created, "updated_at": updated}
    project = parse(str(fields.get("project", "")))
    if project is not None:
        values["project"] = (await Projects(parts).get(tenant, str(fields["project"]))).name
    evaluator = fields["evaluator"]
    kind = _EVALUATORS.get(str(evaluator.get("type")))
    if kind is None:
        raise wrong_field(f"evaluator.type: {evaluator.get('type')!r} is no evaluator; use one of {', '.join(_EVALUATORS)}")
    _known(kind, {name: value for name, value in evaluator.items() if name != "type"}, "evaluator")
    if kind is Judge and isinstance(evaluator.get("budget"), dict):
        _known(Budget, evaluator["budget"], "evaluator.budget")
    for place, alert in enumerate(fields.get("alerts", ())):
        _known(Alert, alert, f"alerts[{place}]")
    return built(EvaluationRule, values)


def rule_json(rule: EvaluationRule) -> dict[str, Any]:
    """As the surface shows a rule."""
    shown: dict[str, Any] = msgspec.to_builtins(rule)
    del shown["tenant"]
    return shown


def _known(cls: type[msgspec.Struct], values: Fields, path: str) -> None:
    """Refuses fields that there are not, so that a slip does not pass for a setting."""
    names = cls.__struct_encode_fields__
    for name in values:
        if name not in names:
            near = get_close_matches(name, names, 1)
            raise wrong_field(f"{path}.{name}: there is no such field; " + (f"did you mean `{near[0]}`?" if near else f"there are {', '.join(names)}"))

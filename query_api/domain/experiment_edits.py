"""What a partial change makes of an experiment and of its metrics, before anything is stored. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from query_api.domain.change import wrong_field
from query_api.domain.experiment_lifecycle import SURFACE_NAMES
from query_api.domain.json_values import check_json
from query_api.domain.stored import new_id
from schemas import targeting
from schemas.definition_kinds import Experiment, Guardrail, Metric, Variant

Fields = Mapping[str, Any]
"""Fields to set, by the names they have in `Experiment`; those that are not there stay. Beyond those: `status` and `group_share`. Each of `variants` has
fields of `Variant`, and each of `metrics` those of `Metric` in JSON and `guardrail`, which is None or has fields of `Guardrail`."""

SUM_TOLERANCE: Final = 1e-6
"""By how much allocations may miss 100."""
PLAIN: Final = ("name", "description", "hypothesis", "starts_at", "ends_at", "targeting", "traffic", "seed", "group", "overrides", "correction", "alpha")
"""Fields that are stored as they are given."""

_WORD: Final = re.compile(r"\w+")

T = TypeVar("T", Experiment, Guardrail, Metric, Variant)


class Edit(NamedTuple):
    """An experiment and its metrics after a change."""

    experiment: Experiment
    metrics: dict[str, Metric]
    """By id, in the order of the experiment."""


def edited(before: Experiment, metrics: Mapping[str, Metric], fields: Fields) -> Edit:
    """The experiment with the fields set, in the state it was in. `metrics` are those it has and those the fields name by id.

    A variant or metric that it has already, told by id or else by name, keeps what is not said of it. Raises `ValidationFailed`."""
    values: dict[str, Any] = {name: fields[name] for name in PLAIN if name in fields}
    own = {name: metrics[name] for name in before.metrics if name in metrics}
    if "variants" in fields:
        values["variants"] = _variants(before, fields["variants"])
    if "metrics" in fields:
        own = _metrics(before, own, metrics, fields["metrics"])
        values |= {"metrics": list(own), "guardrails": _guardrails(before, own, fields["metrics"])}
    if values.get("targeting") is not None:
        _check_targeting(values["targeting"])
    return Edit(_built(Experiment, msgspec.structs.asdict(before) | values, ""), own)


def allocations(variants: Sequence[Variant]) -> list[float]:
    """The share of each variant in percent: the weights themselves where they sum to 100."""
    total = sum(variant.weight for variant in variants)
    return [variant.weight if abs(total - 100) <= SUM_TOLERANCE else variant.weight / total * 100 for variant in variants]


def _variants(before: Experiment, wanted: Sequence[Fields]) -> list[Variant]:
    shared = [msgspec.structs.replace(old, weight=share) for old, share in zip(before.variants, allocations(before.variants), strict=True)]
    by_id, by_name = {old.id: old for old in shared if old.id}, {old.name: old for old in shared}
    equal = not shared and not any("weight" in each for each in wanted)
    chosen = any(each.get("control") for each in wanted)
    made: list[Variant] = []
    for place, each in enumerate(wanted):
        path = f"variants[{place}]"
        if each.get("id") and each["id"] not in by_id:
            raise wrong_field(f"{path}.id: the experiment has no variant {each['id']!r}; leave the id out to add one")
        old = by_id[each["id"]] if each.get("id") else by_name.get(each.get("name", ""))
        values: dict[str, Any] = msgspec.structs.asdict(old) if old else {"weight": 100 / len(wanted) if equal else None}
        values["control"] = bool(values.get("control")) and not chosen
        values |= each
        values["id"] = (old.id if old else "") or new_id("var")
        if values["weight"] is None:
            raise wrong_field(f"{path}.allocation: is missing; say it for every variant, or for none to share equally")
        if any(other.id == values["id"] for other in made):
            raise wrong_field(f"{path}.id: the variant {values['id']!r} stands twice; remove one")
        made.append(_built(Variant, values, f"{path}."))
    total = sum(variant.weight for variant in made)
    if made and abs(total - 100) > SUM_TOLERANCE:
        raise wrong_field(f"variants: the allocations sum to {total:g}; they must sum to 100")
    if made and not any(variant.control for variant in made):
        named = next((place for place, variant in enumerate(made) if variant.name == "control"), 0)
        made[named] = msgspec.structs.replace(made[named], control=True)
    return made


def _metrics(before: Experiment, own: Mapping[str, Metric], known: Mapping[str, Metric], wanted: Sequence[Fields]) -> dict[str, Metric]:
    by_name = {metric.name: metric for metric in own.values()}
    made: dict[str, Metric] = {}
    for place, each in enumerate(wanted):
        path = f"metrics[{place}]"
        if each.get("id") and each["id"] not in known:
            raise wrong_field(f"{path}.id: there is no metric {each['id']!r}; leave the id out to define one")
        old = known[each["id"]] if each.get("id") else by_name.get(each.get("name", ""))
        for name, label in (("name", "name"), ("event_type", "event_name")):
            if old is None and not each.get(name):
                raise wrong_field(f"{path}.{label}: a new metric needs it")
        values: dict[str, Any] = msgspec.to_builtins(old) if old else {"tenant": before.tenant, "id": new_id("met"), "experiment": before.id}
        if each.get("guardrail"):
            values["use"] = "guardrail"
        values |= {name: value for name, value in each.items() if name not in ("id", "guardrail")}
        metric = _built(Metric, values, f"{path}.")
        if metric.id in made or any(other.name == metric.name for other in made.values()):
            raise wrong_field(f"{path}.name: the metric {metric.name!r} stands twice; remove one or give it a name of its own")
        made[metric.id] = metric
    return made


def _guardrails(before: Experiment, own: Mapping[str, Metric], wanted: Sequence[Fields]) -> list[Guardrail]:
    kept = {guardrail.metric: guardrail for guardrail in before.guardrails}
    made = []
    for place, (metric_id, each) in enumerate(zip(own, wanted, strict=True)):
        asked = each.get("guardrail", kept.get(metric_id))
        if isinstance(asked, Guardrail):
            made.append(asked)
        elif asked is not None:
            made.append(_built(Guardrail, {**asked, "metric": metric_id}, f"metrics[{place}].guardrail."))
    return made


def _check_targeting(rule: targeting.Rule) -> None:
    try:
        targeting.check(rule, "targeting")
    except ValueError as error:
        raise wrong_field(str(error)) from error
    _check_values(rule, "targeting")


def _check_values(rule: targeting.Rule, path: str) -> None:
    check_json(rule.value, f"{path}.value")
    for place, part in enumerate(rule.rules):
        _check_values(part, f"{path}.rules[{place}]")


def _built(cls: type[T], values: dict[str, Any], path: str) -> T:
    """The struct with these values. Raises `ValidationFailed`; a field is named as the surface names it."""
    try:
        return msgspec.convert(values, type=cls)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        field, colon, rest = (f"{place.rstrip('`').lstrip('.')}: {problem}" if place else problem).partition(": ")
        raise wrong_field(path + _WORD.sub(lambda word: SURFACE_NAMES.get(word[0], word[0]), field) + colon + rest) from error

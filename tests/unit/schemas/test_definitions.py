"""The registry follows control records, and undefined experiments are computed by the documented rules."""

from datetime import UTC, datetime

import msgspec
import pytest

from schemas.definition_kinds import KINDS, kind_of
from schemas.definitions import (
    DEFAULT_PRICE_LIST,
    Change,
    ControlRecord,
    Definition,
    Definitions,
    EvaluationRule,
    Experiment,
    Key,
    LlmPrice,
    Metric,
    PriceList,
    Tenant,
    Variant,
    decode_definition,
    effective_experiment,
    encode_definition,
    hash_secret,
    make_key,
    parse_key,
    to_us,
)
from schemas.evaluation_rule import Alert
from schemas.evaluators.pattern import Regex
from schemas.exclusion import ExclusionGroup, Slot
from schemas.flag import Flag, FlagRule, Variation
from schemas.pins import Pins
from schemas.targeting import Rule
from schemas.user import User

NOW_US = to_us(datetime(2026, 5, 1, tzinfo=UTC))
TEXT = make_key()


def record(definition: Definition, version: int = 1, deleted: bool = False) -> ControlRecord:
    payload = "" if deleted else encode_definition(definition)
    return ControlRecord(kind_of(definition), definition.tenant, definition.id, version, deleted, payload, 0)


def holding(*definitions: Definition) -> Definitions:
    held = Definitions()
    for definition in definitions:
        assert held.apply(record(definition))
    return held


def key(**changes: object) -> Key:
    return msgspec.structs.replace(Key(tenant="acme", id="k1", name="ci", sha256=hash_secret(TEXT), role="ingest"), **changes)


def prices(version: int, month: int, name: str = "list") -> PriceList:
    return PriceList(tenant="acme", name=name, version=version, effective_from=datetime(2026, month, 1, tzinfo=UTC))


def test_a_made_key_has_the_documented_form_and_is_never_the_same() -> None:
    texts = {make_key() for _ in range(50)}
    assert len(texts) == 50
    for text in texts:
        parts = parse_key(text)
        assert parts is not None and text == f"ms_{parts.id}_{parts.secret}" and len(parts.id) == 12 and len(parts.secret) == 43
    assert parse_key("ms_short_x") is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_encoding(kind: str) -> None:
    samples: dict[str, Definition] = {
        "tenant": Tenant("acme", "Acme"),
        "key": key(expires_at=datetime(2027, 1, 1, tzinfo=UTC)),
        "experiment": Experiment("acme", "e", variants=(Variant("a"), Variant("b", 2.5, True)), metrics=("m",)),
        "user": User("acme", "usr_1", "ada@example.com", "Ada", "analyst"),
        "exclusion_group": ExclusionGroup("acme", "g", holdout=5, slots=(Slot("e", 50),)),
        "metric": Metric("acme", "m", "click", kind="ratio", denominator_event_type="view"),
        "flag": Flag(
            "acme", "f", "dark_mode", variations=(Variation("v1", "on", True), Variation("v2", "off", False)), rules=(FlagRule("r", Rule("exists", "country")),)
        ),
        "price_list": DEFAULT_PRICE_LIST,
        "pins": Pins("acme", "e", 0, {"a": bytes(range(16)), "b": b""}),
        "evaluation_rule": EvaluationRule("acme", "r", "polite", Regex("(?i)sorry"), alerts=(Alert("mean_score", below=0.5),)),
    }
    definition = samples[kind]
    assert kind_of(definition) == kind
    assert decode_definition(kind_of(definition), encode_definition(definition)) == definition


def test_a_key_is_found_by_its_text_until_revoked_expired_or_deleted() -> None:
    held = holding(key())
    found = held.key_for(TEXT, NOW_US)
    assert found is not None and found.tenant == "acme"
    assert found.allows("ingest") and not found.allows("read") and not found.allows("admin")
    assert held.key_for(TEXT + "x", NOW_US) is None
    assert held.key_for("\ud800", NOW_US) is None

    assert held.apply(record(key(expires_at=datetime(2026, 5, 1, tzinfo=UTC)), 2))
    assert held.key_for(TEXT, NOW_US) is None and held.key_for(TEXT, NOW_US - 1) is not None
    assert held.apply(record(key(revoked_at=datetime(2026, 5, 1, tzinfo=UTC)), 3))
    assert held.key_for(TEXT, NOW_US - 1) is None
    assert held.apply(record(key(), 4)) and held.key_for(TEXT, NOW_US) is not None
    assert held.apply(record(key(), 5, deleted=True)) and held.key_for(TEXT, NOW_US) is None


def test_a_changed_hash_leaves_no_way_in_for_the_old_text() -> None:
    held = holding(key())
    assert held.apply(record(key(sha256=hash_secret("another text")), 2))
    assert held.key_for(TEXT, NOW_US) is None and held.key_for("another text", NOW_US) is not None


def test_admin_includes_the_other_scopes() -> None:
    assert all(key(role="admin").allows(scope) for scope in ("ingest", "read", "admin"))
    assert not key(role="admin", scopes=("read",)).allows("ingest")


def test_records_apply_once_and_in_any_order() -> None:
    seen: list[Change] = []
    held = Definitions()
    held.on_change(seen.append)
    first, second, gone = (record(Metric("acme", "m", event), version) for event, version in (("a", 1), ("b", 2), ("b", 3)))
    gone = msgspec.structs.replace(gone, deleted=True, payload="")
    assert held.apply(second) and not held.apply(first) and not held.apply(second)
    assert held.metrics("acme") == (Metric("acme", "m", "b"),)
    assert held.apply(gone) and not held.apply(second)
    assert held.metrics("acme") == () and held.version == 2
    assert [(change.before, change.after) for change in seen] == [(None, Metric("acme", "m", "b")), (Metric("acme", "m", "b"), None)]


def test_unknown_kinds_are_skipped_and_wrong_payloads_change_nothing() -> None:
    held = Definitions()
    assert not held.apply(ControlRecord("hologram", "acme", "x", 1, False, "{}", 0))
    with pytest.raises(msgspec.ValidationError):
        held.apply(ControlRecord("metric", "acme", "m", 1, False, '{"tenant":"acme"}', 0))
    with pytest.raises(msgspec.ValidationError, match="carries the definition of"):
        held.apply(msgspec.structs.replace(record(Metric("acme", "m", "a")), tenant="other"))
    assert held.version == 0 and held.apply(record(Metric("acme", "m", "a")))


def test_tenants_do_not_see_each_other() -> None:
    held = holding(Tenant("acme", "Acme"), Tenant("other", "Other"), Metric("acme", "m", "a"))
    assert held.metric("other", "m") is None and held.metric("acme", "m") is not None
    assert [tenant.id for tenant in held.tenants()] == ["acme", "other"]


def test_the_price_list_in_force_follows_time() -> None:
    march, may, may_again = prices(1, 3), prices(2, 5), prices(3, 5)
    held = holding(may, march)
    march_us, may_us = to_us(march.effective_from), to_us(may.effective_from)
    assert held.price_list("acme", march_us - 1) == DEFAULT_PRICE_LIST == held.price_list("other", may_us)
    assert held.price_list("acme", march_us) == march == held.price_list("acme", may_us - 1)
    assert held.price_list("acme", may_us) == may
    assert held.governed_span(march) == (march_us, may_us) and held.governed_span(may) == (may_us, None)
    held.apply(record(may_again))
    assert held.price_list("acme", may_us) == may_again and held.governed_span(may) == (may_us, may_us)


def test_the_most_specific_model_pattern_holds() -> None:
    listed = msgspec.structs.replace(
        prices(1, 1), llm=(LlmPrice("*", "*", 9, 9), LlmPrice("p", "m-*", 1, 1), LlmPrice("p", "m-small-*", 2, 2), LlmPrice("p", "m-x", 3, 3))
    )
    found = [listed.llm_price("p", model) for model in ("m-1", "m-small-1", "m-x", "other")]
    assert [price.input for price in found if price] == [1, 2, 3, 9]
    assert DEFAULT_PRICE_LIST.llm_price("nobody", "unheard-of") is None


def test_an_undefined_experiment_is_computed_from_what_is_seen() -> None:
    effective = effective_experiment(Definitions(), "acme", "e", ["view", "buy"], ["b", "control", "a"])
    assert not effective.defined and effective.experiment.control == "control"
    assert [(variant.name, variant.weight) for variant in effective.experiment.variants] == [("a", 1.0), ("b", 1.0), ("control", 1.0)]
    assert [(metric.id, metric.kind, metric.event_type) for metric in effective.metrics] == [("buy", "proportion", "buy"), ("view", "proportion", "view")]
    assert effective_experiment(Definitions(), "acme", "e", [], ["z", "y"]).experiment.control == "y"
    assert effective_experiment(Definitions(), "acme", "e", [], ["z"]).experiment.variants == ()


def test_metrics_of_the_tenant_replace_the_default_ones() -> None:
    revenue = Metric("acme", "revenue", "buy", kind="mean")
    bought = Metric("acme", "bought", "buy")
    held = holding(revenue, bought, Metric("acme", "unseen", "refund"))
    assert [metric.id for metric in effective_experiment(held, "acme", "e", ["buy", "view"], []).metrics] == ["bought", "revenue", "view"]


def test_a_defined_experiment_is_taken_at_its_word() -> None:
    defined = Experiment("acme", "e", variants=(Variant("old", control=True), Variant("control")), metrics=("revenue", "missing"))
    held = holding(defined, Metric("acme", "revenue", "buy", kind="mean"))
    effective = effective_experiment(held, "acme", "e", ["buy", "view"], ["old", "stray"])
    assert effective.defined and effective.experiment == defined and defined.control == "old"
    assert [metric.id for metric in effective.metrics] == ["revenue"]


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("experiment", '{"tenant":"t","id":"e","variants":[{"name":"a"},{"name":"a"}]}', "same name"),
        ("experiment", '{"tenant":"t","id":"e","variants":[{"name":"a"}]}', "one alone"),
        ("experiment", '{"tenant":"t","id":"e","variants":[{"name":"a","control":true},{"name":"b","control":true}]}', "more than one"),
        ("experiment", '{"tenant":"t","id":"e","alpha":1}', "alpha"),
        ("experiment", '{"tenant":"t","id":"e","starts_at":"2026-01-02T00:00:00Z","ends_at":"2026-01-01T00:00:00Z"}', "after starts_at"),
        ("metric", '{"tenant":"t","id":"m","event_type":"a","type":"ratio"}', "a ratio needs it"),
        ("metric", '{"tenant":"t","id":"m","event_type":"a","denominator_event_type":"b"}', "only a ratio"),
        ("metric", '{"tenant":"a/b","id":"m","event_type":"a"}', "tenant"),
        ("key", '{"tenant":"t","id":"k","name":"n","sha256":"secret"}', "sha256"),
        ("price_list", '{"tenant":"t","name":"l","version":0,"effective_from":"2026-01-01T00:00:00Z"}', "version"),
        ("price_list", '{"tenant":"t","name":"l","version":1,"effective_from":"2026-01-01T00:00:00"}', "effective_from"),
    ],
)
def test_wrong_values_are_refused_with_the_reason(kind: str, payload: str, reason: str) -> None:
    known = next(each for each in KINDS if each == kind)
    with pytest.raises(msgspec.ValidationError, match=reason):
        decode_definition(known, payload)


def test_a_metric_made_for_one_experiment_is_not_a_default_of_the_others() -> None:
    own = Metric("acme", "met_1", "buy", experiment="first")
    held = holding(own, Experiment("acme", "first", metrics=("met_1",)))
    assert effective_experiment(held, "acme", "first", ["buy"], ["a", "b"]).metrics == (own,)
    assert [metric.id for metric in effective_experiment(held, "acme", "second", ["buy"], ["a", "b"]).metrics] == ["buy"]

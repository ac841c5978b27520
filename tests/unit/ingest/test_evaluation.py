"""The doors for one flag and one assignment: what they answer, refuse and record."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from infra.runtime.errors import NotFound, Unavailable, ValidationFailed
from ingest.admission import Caller
from ingest.evaluation import MAX_CONTEXT
from schemas.flag import DefaultRule
from schemas.targeting import Rule
from tests.unit.ingest.evaluation_support import Platform, asked, experiment, flag

CALLER = Caller("acme", "k1")
PREMIUM = {"plan": "premium"}


async def evaluate(platform: Platform, /, caller: Caller = CALLER, **query: str) -> dict[str, Any]:
    """What the door for a flag answers."""
    answer = await platform.doors.flag(asked("/", urlencode(query).encode()), caller)
    assert answer.status == 200
    data: dict[str, Any] = msgspec.json.decode(answer.body)["data"]
    return data


async def assignment(platform: Platform, /, caller: Caller = CALLER, **query: str) -> dict[str, Any]:
    """What the door for an assignment answers."""
    answer = await platform.doors.assignment(asked("/", urlencode(query).encode()), caller)
    assert answer.status == 200
    data: dict[str, Any] = msgspec.json.decode(answer.body)["data"]
    return data


async def test_a_rule_decides() -> None:
    platform = Platform(flag())
    assert await evaluate(platform, key="checkout", user_id="u1", context=json.dumps(PREMIUM)) == {
        "key": "checkout", "enabled": True, "variation": "on", "value": True, "rule_id": "rule_1", "reason": "TARGETING_MATCH",
        "experiment_id": None, "variant": None, "recorded": False,
    }  # fmt: skip
    found = await evaluate(platform, key="checkout", user_id="u1")
    assert (found["variation"], found["rule_id"], found["reason"]) == ("off", None, "DEFAULT")


async def test_the_unit_is_an_attribute_too() -> None:
    platform = Platform(flag(default_rule=DefaultRule(100.0), rules=()), experiment(targeting=Rule("ends_with", "user_id", "@acme.org")))
    assert (await assignment(platform, experiment_id="exp_1", user_id="me@acme.org"))["reason"] == "assigned"
    assert (await assignment(platform, experiment_id="exp_1", user_id="me@else.org"))["reason"] == "targeting"
    assert (await assignment(platform, experiment_id="exp_1", user_id="u", context='{"user_id":"x@acme.org"}'))["reason"] == "assigned"


async def test_a_flag_with_an_experiment_records_the_exposure() -> None:
    platform = Platform(flag(experiment="exp_1"), experiment())
    found = await evaluate(platform, key="checkout", user_id="u1")
    assert (found["experiment_id"], found["variant"], found["reason"], found["recorded"]) == ("exp_1", found["variation"], "SPLIT", True)
    assert platform.kept.exposures == [("u1", "exp_1", found["variant"])]
    assert platform.kept.rows[0].received.source == "flag_evaluation"
    by_rule = await evaluate(platform, key="checkout", user_id="u2", context=json.dumps(PREMIUM))
    assert not by_rule["recorded"] and len(platform.kept.rows) == 1, "who gets it by a rule is not in the experiment"


async def test_an_assignment_is_recorded_and_gives_its_position() -> None:
    platform = Platform(experiment())
    answer = await platform.doors.assignment(asked("/", b"experiment_id=exp_1&user_id=u1"), CALLER)
    body = msgspec.json.decode(answer.body)
    assert body["meta"] == {} and answer.headers == {"Cache-Control": "no-store", "X-Millstream-Position": "events:0:1"}
    data = body["data"]
    assert {name: data[name] for name in ("experiment_id", "user_id", "reason", "recorded")} == {
        "experiment_id": "exp_1", "user_id": "u1", "reason": "assigned", "recorded": True,
    }  # fmt: skip
    assert data["variant_id"] == {"on": "var_1", "off": "var_2"}[data["variant"]] and data["timestamp"] == "2026-09-21T14:13:20Z"
    assert platform.kept.exposures == [("u1", "exp_1", data["variant"])]


async def test_who_takes_no_part_gets_null_and_the_reason() -> None:
    platform = Platform(experiment(targeting=Rule("equals", "country", "DE")))
    found = await assignment(platform, experiment_id="exp_1", user_id="u1", context='{"country":"FR"}')
    assert (found["variant"], found["variant_id"], found["reason"], found["recorded"]) == (None, None, "targeting", False)
    assert platform.kept.rows == []


async def test_recording_can_be_left_out_and_may_fail() -> None:
    platform = Platform(experiment())
    assert not (await assignment(platform, experiment_id="exp_1", user_id="u1", record="false"))["recorded"]
    assert platform.kept.rows == []
    platform.kept.failure = Unavailable("Kafka is away")
    found = await assignment(platform, experiment_id="exp_1", user_id="u1")
    assert found["variant"] is not None and not found["recorded"]


async def test_tenants_are_apart() -> None:
    platform = Platform(flag(), experiment())
    with pytest.raises(NotFound, match="no feature flag with the key 'checkout'"):
        await evaluate(platform, Caller("other", "k"), key="checkout", user_id="u")
    with pytest.raises(NotFound, match="no experiment 'exp_1'"):
        await assignment(platform, Caller("other", "k"), experiment_id="exp_1", user_id="u")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("user_id=u", "key"),
        ("key=&user_id=u", "key"),
        (f"key={'k' * 201}&user_id=u", "key"),
        ("key=checkout", "user_id"),
        (f"key=checkout&user_id={'u' * 513}", "user_id"),
        ("key=checkout&user_id=u&context=country", "context"),
        ("key=checkout&user_id=u&context=[1]", "context"),
        ("key=checkout&user_id=u&context=" + quote('{"a":NaN}'), "context"),
        ("key=checkout&user_id=u&context=" + quote('{"a":' * 5_000), "context"),
        ("key=checkout&user_id=u&context=" + quote('{"a":"' + "x" * MAX_CONTEXT + '"}'), "context"),
        ("key=checkout&user_id=u&record=no", "record"),
    ],
)
async def test_what_is_refused_names_the_parameter(query: str, field: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await Platform(flag()).doors.flag(asked("/", query.encode()), CALLER)
    assert refused.value.details == {"field": field} and refused.value.message.startswith(f"`{field}` ")


async def test_a_query_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="UTF-8"):
        await Platform(flag()).doors.flag(asked("/", b"key=%ff&user_id=u"), CALLER)

"""OpenFeature's Python SDK with its OFREP provider, unmodified."""

from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason

from tests.clients.ofrep_flags import VALUES, OfrepFlags
from tests.flow.stack import KEY, LiveStack

PRO = EvaluationContext("user-1", {"plan": "pro", "nested": {"list": [1, 2]}})
FREE = EvaluationContext("user-1", {"plan": "free"})


def client_of(url: str, key: str = KEY) -> OpenFeatureClient:
    """A client with a provider of its own."""
    domain = f"{url}#{key}"
    api.set_provider(OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}), domain)
    return api.get_client(domain)


@pytest.fixture(params=[("experimentation", ""), ("main", "/experimentation")], ids=["port", "prefix"])
def client(live: LiveStack, request: pytest.FixtureRequest) -> Iterator[OpenFeatureClient]:
    port, prefix = request.param
    yield client_of(live.url(port) + prefix)
    api.clear_providers()


@pytest.fixture
def flags(live: LiveStack) -> OfrepFlags:
    return OfrepFlags(live)


def asked(client: OpenFeatureClient, kind: str, key: str, context: EvaluationContext) -> FlagEvaluationDetails[object]:
    """The details of a flag of a type, with a fallback that no flag has."""
    fallback = {"boolean": False, "string": "fallback", "integer": -1, "float": -1.5, "object": {"fallback": True}}[kind]
    details: FlagEvaluationDetails[object] = getattr(client, f"get_{kind}_details")(key, fallback, context)
    return details


@pytest.mark.parametrize("kind", VALUES)
def test_every_type_of_flag(client: OpenFeatureClient, flags: OfrepFlags, kind: str) -> None:
    flag = flags.make(kind)
    on, off = VALUES[kind]
    found = asked(client, kind, flag["key"], PRO)
    assert (found.error_code, found.value, found.variant, found.reason) == (None, on, "on", Reason.TARGETING_MATCH), found.error_message
    assert type(found.value) is type(on)
    assert found.flag_metadata == {"flagId": flag["id"], "ruleId": flag["rules"][0]["id"]}
    other = asked(client, kind, flag["key"], FREE)
    assert (other.error_code, other.value, other.variant, other.reason) == (None, off, "off", Reason.STATIC)


def test_a_disabled_flag_and_a_split(client: OpenFeatureClient, flags: OfrepFlags) -> None:
    disabled = asked(client, "boolean", flags.make(enabled=False)["key"], PRO)
    assert (disabled.value, disabled.reason, disabled.error_code) == (False, Reason.DISABLED, None)
    half = flags.make(rules=[], default_rule={"rollout_percentage": 50})
    found = {asked(client, "boolean", half["key"], EvaluationContext(f"user-{n}")).value for n in range(40)}
    assert found == {True, False}
    assert asked(client, "boolean", half["key"], EvaluationContext("user-1")).reason == Reason.SPLIT


def test_errors_are_those_of_openfeature(client: OpenFeatureClient, flags: OfrepFlags) -> None:
    half = flags.make(rules=[], default_rule={"rollout_percentage": 50})
    assert asked(client, "boolean", half["key"], EvaluationContext()).error_code == ErrorCode.TARGETING_KEY_MISSING
    assert asked(client, "boolean", "client-no-such-flag", PRO).error_code == ErrorCode.FLAG_NOT_FOUND
    assert asked(client, "string", half["key"], PRO).error_code == ErrorCode.TYPE_MISMATCH
    assert asked(client, "boolean", flags.make()["key"], EvaluationContext()).error_code is None, "a rule needs no user"


def test_a_wrong_key_gives_the_fallback(live: LiveStack, flags: OfrepFlags) -> None:
    found = asked(client_of(live.url("experimentation"), "wrong"), "boolean", flags.make()["key"], PRO)
    assert found.value is False and found.error_code == ErrorCode.GENERAL and "unauthorized" in str(found.error_message)

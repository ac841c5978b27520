"""OFREP 0.3.0: every answer of the protocol, as interop.md C1 and the measured providers need it."""

import asyncio
import gzip
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from infra.runtime.errors import RateLimited
from ingest.admission import Caller
from ingest.ofrep import MAX_BODY
from ingest.stream_token import SLOT_S
from schemas.flag import DefaultRule, Variation
from tests.unit.ingest.evaluation_support import Platform, Wire, asked, define, experiment, flag, key

ONE, ALL, STREAM = "/ofrep/v1/evaluate/flags/", "/ofrep/v1/evaluate/flags", "/ofrep/v1/stream"
USER = {"targetingKey": "u1", "plan": "premium"}


async def uncounted(caller: Caller, headers: dict[str, str]) -> None:
    return None


async def send(
    platform: Platform, path: str, body: Any = None, *, method: str = "POST", query: bytes = b"", prefix: str = "", count: Any = uncounted, **headers: str
) -> Wire:
    """The answer to a request; names of headers with underscores for dashes."""
    wire = Wire(body if isinstance(body, bytes) else msgspec.json.encode(body))
    request = asked(path, query, {name.replace("_", "-"): value for name, value in headers.items()}, wire)
    await platform.ofrep.serve(method, request, prefix, count, wire.send)
    return wire


def context(**attributes: Any) -> dict[str, Any]:
    return {"context": {"targetingKey": "u1", **attributes}}


async def test_one_flag() -> None:
    platform = Platform(flag())
    answer = await send(platform, ONE + "checkout", context(plan="premium"))
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "key": "checkout", "value": True, "reason": "TARGETING_MATCH", "variant": "on", "metadata": {"flagId": "flag_checkout", "ruleId": "rule_1"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "reason", "variant"),
    [
        ({"rules": (), "default_rule": DefaultRule(100.0)}, "STATIC", "on"),
        ({}, "STATIC", "off"),
        ({"enabled": False}, "DISABLED", "off"),
        ({"default_rule": DefaultRule(50.0)}, "SPLIT", None),
        ({"experiment": "exp_1"}, "SPLIT", None),
    ],
)
async def test_reasons_are_those_of_the_protocol_and_a_value_is_always_there(values: dict[str, Any], reason: str, variant: str | None) -> None:
    answer = (await send(Platform(flag(**values), experiment()), ONE + "checkout", context())).json
    assert answer["reason"] == reason and variant in (None, answer["variant"])
    assert answer["value"] is (answer["variant"] == "on")
    assert all(isinstance(value, str | bool | int | float) for value in answer["metadata"].values())


async def test_one_flag_records_the_exposure_and_all_flags_do_not() -> None:
    platform = Platform(flag(experiment="exp_1"), experiment())
    await send(platform, ALL, context())
    assert platform.kept.rows == []
    answer = await send(platform, ONE + "checkout", context())
    assert platform.kept.exposures == [("u1", "exp_1", answer.json["variant"])]
    assert answer.headers["x-millstream-position"] == "events:0:1"
    metadata = answer.json["metadata"]
    assert (metadata["experimentId"], metadata["experimentVariant"]) == ("exp_1", answer.json["variant"])


async def test_numbers_keep_their_kind() -> None:
    ratio = flag("ratio", rules=(), variations=(Variation("h", "h", 10.0), Variation("l", "l", 0.5)), default_rule=DefaultRule(100.0))
    assert b'"value":10.0' in (await send(Platform(ratio), ONE + "ratio", context())).body


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (ONE + "checkout", b"{", 400, "PARSE_ERROR"),
        (ONE + "checkout", b"\xff", 400, "PARSE_ERROR"),
        (ONE + "checkout", b"[" * 100_000, 413, None),
        (ONE + "checkout", b"[" * 5_000, 400, "PARSE_ERROR"),
        (ONE + "checkout", {}, 400, "INVALID_CONTEXT"),
        (ONE + "checkout", {"context": [1]}, 400, "INVALID_CONTEXT"),
        (ONE + "checkout", [], 400, "INVALID_CONTEXT"),
        (ONE + "checkout", {"context": {"targetingKey": 7}}, 400, "INVALID_CONTEXT"),
        (ONE + "checkout", {"context": {"targetingKey": "x" * 513}}, 400, "INVALID_CONTEXT"),
        (ONE + "split", {"context": {}}, 400, "TARGETING_KEY_MISSING"),
        (ONE + "split", {"context": {"targetingKey": ""}}, 400, "TARGETING_KEY_MISSING"),
        (ONE + "nothing", {"context": {}}, 404, "FLAG_NOT_FOUND"),
        (ONE + "a/b ü", {"context": {}}, 404, "FLAG_NOT_FOUND"),
        (ALL, b"{", 400, "PARSE_ERROR"),
        (ALL, {}, 400, "INVALID_CONTEXT"),
    ],
)
async def test_errors(path: str, body: Any, status: int, code: str | None) -> None:
    answer = await send(Platform(flag(), flag("split", default_rule=DefaultRule(50.0))), path, body)
    assert answer.status == status and answer.json["errorDetails"]
    assert answer.json.get("errorCode") == code
    if code and path != ALL:
        assert answer.json["key"] == path.removeprefix(ONE)


async def test_a_missing_key_does_not_fail_the_others() -> None:
    platform = Platform(flag("plain", default_rule=DefaultRule(100.0), rules=()), flag("split", default_rule=DefaultRule(50.0)))
    assert (await send(platform, ONE + "plain", {"context": {}})).json["value"] is True
    answer = await send(platform, ALL, {"context": {}})
    assert answer.status == 200
    found = {each["key"]: each for each in answer.json["flags"]}
    assert found["plain"]["value"] is True and found["split"]["errorCode"] == "TARGETING_KEY_MISSING" and "value" not in found["split"]


async def test_wrong_keys_get_no_body() -> None:
    platform = Platform(flag())
    for authorization in ("Bearer wrong", "Basic x", ""):
        answer = await send(platform, ALL, context(), authorization=authorization)
        assert (answer.status, answer.body) == (401, b"")
    define(platform.definitions, key("viewer"))
    answer = await send(platform, ONE + "checkout", context())
    assert (answer.status, answer.body) == (403, b"")


async def test_the_key_may_come_as_x_api_key() -> None:
    text = asked("/").headers["authorization"].removeprefix("Bearer ")
    assert (await send(Platform(flag()), ALL, context(), authorization="", x_api_key=text)).status == 200


async def test_a_limited_key_is_told_when_to_come_back() -> None:
    async def too_many(caller: Caller, headers: dict[str, str]) -> None:
        headers["X-RateLimit-Remaining"] = "0"
        raise RateLimited("Too many.", retry_after_s=None)

    answer = await send(Platform(flag()), ALL, context(), count=too_many)
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-ratelimit-remaining"]) == (429, "1", "0")


async def test_compressed_bodies() -> None:
    body = gzip.compress(msgspec.json.encode(context(plan="premium")))
    assert (await send(Platform(flag()), ONE + "checkout", body, content_encoding="gzip")).json["value"] is True
    assert (await send(Platform(flag()), ONE + "checkout", body[:-9], content_encoding="gzip")).json["errorCode"] == "PARSE_ERROR"
    bomb = gzip.compress(b" " * (MAX_BODY + 1))
    assert (await send(Platform(flag()), ONE + "checkout", bomb, content_encoding="gzip")).status == 413


async def test_paths_and_methods() -> None:
    platform = Platform(flag())
    assert (await send(platform, "/ofrep/v1/nothing", context())).status == 404
    assert (await send(platform, "/ofrep/v2/evaluate/flags", context())).status == 404
    refused = await send(platform, ALL, b"", method="GET")
    assert (refused.status, refused.headers["allow"]) == (405, "POST, OPTIONS")
    assert (await send(platform, STREAM, b"")).headers["allow"] == "GET, OPTIONS"


async def test_browsers_may_ask_from_any_page() -> None:
    platform = Platform(flag())
    for path in (ALL, ONE + "checkout", STREAM):
        wanted = "authorization,content-type,x-own"
        answer = await send(platform, path, b"", method="OPTIONS", authorization="", origin="https://shop.example", access_control_request_headers=wanted)
        assert (answer.status, answer.body) == (204, b"") and "content-length" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == "*" and answer.headers["access-control-allow-headers"] == wanted
        assert {"GET", "POST"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    for authorization in (asked("/").headers["authorization"], "Bearer wrong"):
        answer = await send(platform, ALL, context(), origin="https://shop.example", authorization=authorization)
        assert answer.headers["access-control-allow-origin"] == "*" and "ETag" in answer.headers["access-control-expose-headers"]


async def test_all_flags_with_an_etag_over_definitions_and_context() -> None:
    platform = Platform(flag(), flag("other", enabled=False))
    first = await send(platform, ALL, context(plan="premium"))
    assert [(each["key"], each["value"]) for each in first.json["flags"]] == [("checkout", True), ("other", False)]
    etag = first.headers["etag"]
    assert etag.startswith('"') and etag.endswith('"')
    for match in (etag, f"W/{etag}", f'"else", {etag}'):
        unchanged = await send(platform, ALL, {"context": {"plan": "premium", "targetingKey": "u1"}}, if_none_match=match)
        assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", etag)
        assert "content-length" not in unchanged.headers
    for body in (context(plan="free"), context(plan="premium", more=1), {"context": {**USER, "targetingKey": "u2"}}):
        assert (await send(platform, ALL, body, if_none_match=etag)).status == 200
    define(platform.definitions, flag(enabled=False))
    changed = await send(platform, ALL, context(plan="premium"), if_none_match=etag)
    assert changed.status == 200 and changed.json["flags"][0]["value"] is False


async def test_an_experiment_that_changes_changes_the_etag() -> None:
    platform = Platform(flag(experiment="exp_1"), experiment())
    etag = (await send(platform, ALL, context())).headers["etag"]
    define(platform.definitions, experiment(rolled_back=True))
    answer = await send(platform, ALL, context(), if_none_match=etag)
    assert answer.status == 200 and answer.json["flags"][0]["variant"] == "off"


async def test_a_304_never_keeps_a_client_on_a_token_that_is_over() -> None:
    platform = Platform(flag())
    etag = (await send(platform, ALL, context())).headers["etag"]
    platform.clock.forward(SLOT_S)
    assert (await send(platform, ALL, context(), if_none_match=etag)).status == 200


async def stream_of(platform: Platform, prefix: str = "") -> tuple[str, dict[str, str]]:
    """Path and query of the stream that the answer for all flags names."""
    (stream,) = (await send(platform, ALL, context(), prefix=prefix)).json["eventStreams"]
    assert stream["type"] == "sse" and stream["inactivityDelaySec"] == 120 and set(stream["endpoint"]) == {"requestUri"}
    parts = urlsplit(stream["endpoint"]["requestUri"])
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}


async def test_the_stream_is_named_with_the_prefix_the_client_came_by() -> None:
    platform = Platform(flag())
    assert (await stream_of(platform))[0] == STREAM
    path, query = await stream_of(platform, "/experimentation")
    assert path == f"/experimentation{STREAM}"
    assert query["since"] == platform.evaluators.version("acme")


async def test_the_stream_opens_with_its_token_and_tells_what_happened_since() -> None:
    platform = Platform(flag())
    _, query = await stream_of(platform)
    define(platform.definitions, flag(enabled=False))
    wire = Wire()
    request = asked(STREAM, f"token={query['token']}&since={query['since']}".encode(), {"authorization": "", "origin": "https://shop.example"}, wire)
    left = asyncio.Event()

    async def until_told(message: Any) -> None:
        await wire.send(message)
        if b"refetchEvaluation" in message.get("body", b""):
            left.set()

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    request = msgspec.structs.replace(request, receive=receive)
    await asyncio.wait_for(platform.ofrep.serve("GET", request, "", uncounted, until_told), 10)
    assert wire.status == 200 and wire.headers["content-type"] == "text/event-stream" and wire.headers["access-control-allow-origin"] == "*"
    assert f"id: {platform.evaluators.version('acme')}\n".encode() in wire.body


async def test_the_stream_needs_its_token_or_a_key() -> None:
    platform = Platform(flag())
    assert (await send(platform, STREAM, b"", method="GET", authorization="")).status == 401
    assert (await send(platform, STREAM, b"", method="GET", authorization="", query=b"token=wrong")).status == 401
    assert (
        await send(platform, ONE + "checkout", context(), authorization="", query=b"token=" + (await stream_of(platform))[1]["token"].encode())
    ).status == 401


async def test_a_refetch_waits_for_a_change_that_this_process_does_not_know_yet() -> None:
    platform, ahead = Platform(flag()), Platform(flag())
    changed = flag(enabled=False)
    define(ahead.definitions, changed)
    wanted = ahead.evaluators.version("acme")
    refetch = asyncio.create_task(send(platform, ALL, context(plan="premium"), query=f"flagConfigEtag={wanted}&flagConfigLastModified=1".encode()))
    await asyncio.sleep(0)
    assert not refetch.done()
    define(platform.definitions, changed)
    assert (await refetch).json["flags"][0]["reason"] == "DISABLED"

"""OFREP 0.3.0, the OpenFeature Remote Evaluation Protocol (github.com/open-feature/protocol): flags for any OpenFeature SDK.

One flag at a time for servers, all of them at once for browsers and phones, and a stream that says when to ask again. The evaluation of
one flag records the exposure to its experiment. The evaluation of all does not: it is made in advance, and what the user then sees the
client tells by the OTLP event `feature_flag.evaluation` or by an event of its own that names the variant.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from infra.runtime import decoding
from infra.runtime.clock import Clock
from infra.runtime.errors import InvalidArgument, MillstreamError, Unauthenticated
from ingest import metrics
from ingest.admission import Admission, Caller, caller_of
from ingest.evaluators import Evaluators, ReadyFlag
from ingest.events import MAX_NAME
from ingest.exchange import ClientGone, DoorAnswer, DoorRequest, Send, raw_headers
from ingest.exposures import Exposures
from ingest.flag_stream import FlagStreams
from ingest.json_rows import sdk_of
from ingest.stream_token import key_of_token, make_token, slot
from schemas.definitions import Definitions
from schemas.flag_evaluation import Evaluation

ROOT: Final = "/ofrep/v1"
MAX_BODY = 65_536
"""Largest request, in bytes: a context is a handful of attributes."""
CATCH_UP_S = 1.0
"""The longest a request that another process's stream caused waits until this process knows the change too."""

_JSON = "application/json"
_SLICE = 200
"""Flags evaluated in one go; other requests come in between."""
_log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode

Count = Callable[[Caller, dict[str, str]], Awaitable[object]]
"""Counts a request against the rate of its key and adds the headers that say so. Raises RateLimited."""


class _Refusal(Exception):
    """A request that cannot be evaluated, as OFREP says it."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.body = {"errorCode": code, "errorDetails": details}


class Ofrep:
    """Everything under `/ofrep/`."""

    def __init__(
        self, definitions: Definitions, admission: Admission, evaluators: Evaluators, exposures: Exposures, streams: FlagStreams, clock: Clock
    ) -> None:
        self._definitions = definitions
        self._admission = admission
        self._evaluators = evaluators
        self._exposures = exposures
        self._streams = streams
        self._clock = clock

    async def serve(self, method: str, request: DoorRequest, prefix: str, count: Count, send: Send) -> None:
        """Answer one request, whatever it is. `prefix` is what the client's path has before that of the surface."""
        started = time.perf_counter()
        more = _cors(request)
        try:
            answer = await self._answer(method, request, prefix, count, send, more)
        except ClientGone:
            return
        except MillstreamError as error:
            answer = _refused(error)
        except Exception:
            _log.exception("door failed", door="ofrep")
            answer = _json(500, {"errorDetails": "The platform failed on this request; it is logged. Send it again."})
        metrics.REQUESTS.labels("ofrep", str(answer.status if answer else 200)).inc()
        if answer is not None:
            metrics.REQUEST_SECONDS.labels("ofrep").observe(time.perf_counter() - started)
            await answer.send(send, more)

    async def _answer(self, method: str, request: DoorRequest, prefix: str, count: Count, send: Send, more: dict[str, str]) -> DoorAnswer | None:
        """The answer; None when it was sent already, as a stream."""
        place = request.path.removeprefix(ROOT)
        wanted = "GET" if place == "/stream" else "POST"
        if place == request.path or not (place == "/stream" or place == "/evaluate/flags" or place.startswith("/evaluate/flags/")):
            return _json(404, {"errorDetails": f"Send POST to {ROOT}/evaluate/flags or {ROOT}/evaluate/flags/KEY."})
        if method == "OPTIONS":
            return DoorAnswer(204, b"", _JSON, {"Access-Control-Max-Age": "86400"})
        if method != wanted:
            return DoorAnswer(405, _encode({"errorDetails": f"Send {wanted}."}), _JSON, {"Allow": f"{wanted}, OPTIONS"})
        caller = self._caller(request, place)
        caller.check_may_evaluate()
        await count(caller, more)
        if place == "/stream":
            known = request.headers.get("last-event-id") or request.parameters.get("since", "")
            await self._streams.serve(caller.tenant, caller.key_id, known, raw_headers(more), request.receive, send)
            return None
        with self._admission.reserve(max(request.content_length, 1_024)):
            if place == "/evaluate/flags":
                return await self._all(request, caller, prefix)
            return await self._one(request, caller, place.removeprefix("/evaluate/flags/"))

    def _caller(self, request: DoorRequest, place: str) -> Caller:
        token = request.parameters.get("token", "") if place == "/stream" else ""
        if not token:
            return self._admission.identify(request.headers, request.client)
        key = key_of_token(self._definitions, token, self._clock.now_us())
        if key is None:
            raise Unauthenticated("The token of this stream is over; evaluate again to get a new one.")
        return caller_of(key)

    async def _one(self, request: DoorRequest, caller: Caller, key: str) -> DoorAnswer:
        try:
            unit, context = await _asked(request)
        except _Refusal as refusal:
            return _json(400, {"key": key, **refusal.body})
        ready = self._evaluators.flag(caller.tenant, key)
        if ready is None:
            return _json(404, {"key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": f"There is no feature flag with the key {key!r}."})
        found = ready.evaluate(unit, context)
        body = _shown(ready, found)
        if "errorCode" in body:
            return _json(400, body)
        recorded = await self._exposures.record(caller.tenant, unit or "", found.assignment, "flag_evaluation", sdk_of(request.headers))
        return _json(200, body, {"X-Millstream-Position": recorded.position} if recorded.position else {})

    async def _all(self, request: DoorRequest, caller: Caller, prefix: str) -> DoorAnswer:
        try:
            unit, context = await _asked(request)
        except _Refusal as refusal:
            return _json(400, refusal.body)
        await self._catch_up(caller.tenant, request.parameters.get("flagConfigEtag", ""))
        version, now = self._evaluators.version(caller.tenant), self._clock.now_us()
        # The slot is part of it because a 304 brings no new address of the stream, whose token ends.
        rest = hashlib.blake2b(_encode_sorted((context, caller.key_id, prefix, slot(now))), digest_size=12).hexdigest()
        headers = {"ETag": f'"{version}-{rest}"'}
        if headers["ETag"] in _etags(request.headers.get("if-none-match", "")):
            return DoorAnswer(304, b"", _JSON, headers)
        flags: list[dict[str, Any]] = []
        for place, ready in enumerate(self._evaluators.flags(caller.tenant), 1):
            flags.append(_shown(ready, ready.evaluate(unit, context)))
            if place % _SLICE == 0:
                await asyncio.sleep(0)
        body: dict[str, Any] = {"flags": flags, "metadata": {"version": version}}
        key = self._definitions.valid_key(caller.tenant, caller.key_id, now)
        if key is not None:
            uri = f"{prefix}{ROOT}/stream?token={make_token(key, now)}&since={version}"
            body["eventStreams"] = [{"type": "sse", "endpoint": {"requestUri": uri}, "inactivityDelaySec": 120}]
        return _json(200, body, headers)

    async def _catch_up(self, tenant: str, version: str) -> None:
        """Wait a moment for a change that the client heard of from another process."""
        deadline = self._clock.monotonic() + CATCH_UP_S
        while version and not self._evaluators.has_seen(tenant, version) and self._clock.monotonic() < deadline:
            await asyncio.sleep(0.02)


def _shown(ready: ReadyFlag, found: Evaluation) -> dict[str, Any]:
    """One evaluation as OFREP has it. Its reasons know no DEFAULT: what no rule decided is the same for everybody, STATIC."""
    flag = ready.flag
    if found.reason == "ERROR":
        return {
            "key": flag.key,
            "errorCode": "TARGETING_KEY_MISSING",
            "errorDetails": "This flag splits users by their key; send it as `targetingKey` in the context.",
        }
    metadata: dict[str, str] = {"flagId": flag.id}
    if found.rule_id:
        metadata["ruleId"] = found.rule_id
    if found.assignment is not None and found.assignment.variant is not None:
        metadata["experimentId"] = found.assignment.experiment
        metadata["experimentVariant"] = found.assignment.variant.name
    reason = "STATIC" if found.reason == "DEFAULT" else found.reason
    return {"key": flag.key, "value": ready.value_of(found.variation), "reason": reason, "variant": found.variation.key, "metadata": metadata}


async def _asked(request: DoorRequest) -> tuple[str | None, dict[str, Any]]:
    """The targeting key, if there is one, and the context. Raises _Refusal."""
    try:
        body = await request.raw_body(MAX_BODY)
        if encoding := request.headers.get("content-encoding", ""):
            body = decoding.inflate(body, encoding, MAX_BODY)
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _Refusal("PARSE_ERROR", f"The body is not valid JSON: {error}") from error
    except InvalidArgument as error:
        raise _Refusal("PARSE_ERROR", error.message) from error
    context = asked.get("context") if isinstance(asked, dict) else None
    if not isinstance(context, dict):
        raise _Refusal("INVALID_CONTEXT", 'Send {"context": {"targetingKey": "USER", ...}}.')
    unit = context.get("targetingKey")
    if unit is None or unit == "":
        return None, context
    if not isinstance(unit, str) or len(unit) > MAX_NAME:
        raise _Refusal("INVALID_CONTEXT", f"`targetingKey` must be a text of at most {MAX_NAME} characters.")
    context.setdefault("user_id", unit)
    return unit, context


def _json(status: int, body: Mapping[str, Any], headers: dict[str, str] | None = None) -> DoorAnswer:
    return DoorAnswer(status, _encode(body), _JSON, headers or {})


def _refused(error: MillstreamError) -> DoorAnswer:
    status = error.kind.http
    headers = {"Retry-After": str(max(1, error.retry_after_s or 1))} if error.kind.retryable else {}
    return DoorAnswer(status, b"", _JSON, headers) if status in (401, 403) else _json(status, {"errorDetails": error.message}, headers)


def _cors(request: DoorRequest) -> dict[str, str]:
    """Any page may ask: keys come in headers that a page sets itself, never in cookies."""
    if "origin" not in request.headers:
        return {}
    allowed = request.headers.get("access-control-request-headers") or "Authorization, X-API-Key, Content-Type, If-None-Match, Last-Event-ID"
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": allowed,
        "Access-Control-Expose-Headers": "ETag, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset",
    }


def _etags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]

"""The front: by port and path, a request goes through a door or on to the query service."""

import functools
import time
from collections.abc import Callable, Mapping

import structlog

from infra.runtime.errors import MillstreamError, NotFound
from ingest import metrics
from ingest.admission import Admission, Caller
from ingest.evaluation import EvaluationDoors
from ingest.exchange import ClientGone, DoorAnswer, DoorRequest, Receive, Scope, Send
from ingest.forward import Forwarder
from ingest.idempotency import IdempotencyKeys
from ingest.json_doors import Count, Handler, JsonDoors, error_answer
from ingest.ofrep import Ofrep
from ingest.quota import Quota
from schemas.surfaces import LLM, OTLP, SURFACES, Surface

_log = structlog.get_logger()


class OtlpDoor:
    """What the front needs of the OTLP door; the body is handed over still compressed."""

    def __init__(self, handle: Handler, refuse: Callable[[DoorRequest, MillstreamError], DoorAnswer]) -> None:
        self.handle = handle
        self.refuse = refuse


class Front:
    """The ASGI application of every HTTP port of ingest."""

    def __init__(
        self,
        ports: Mapping[int, Surface],
        admission: Admission,
        keys: IdempotencyKeys,
        json_doors: JsonDoors,
        otlp: OtlpDoor,
        forwarder: Forwarder,
        quota: Quota,
        evaluation: EvaluationDoors,
        ofrep: Ofrep,
        max_body: int,
    ) -> None:
        self._ports = ports
        self._admission = admission
        self._keys = keys
        self._json = json_doors
        self._otlp = otlp
        self._forwarder = forwarder
        self._quota = quota
        self._questions = {"flag": evaluation.flag, "assignment": evaluation.assignment}
        self._ofrep = ofrep
        self._max_body = max_body
        self._handlers: dict[str, Handler] = {"event": json_doors.event, "event_batch": json_doors.event_batch, "telemetry_batch": json_doors.telemetry_batch}
        self._prefixes = {surface.name: surface for surface in SURFACES if surface is not OTLP}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        surface, path = self._place(scope)
        if scope["type"] == "websocket":
            self._admission.recognise(scope["headers"], surface.cookie if surface else "")  # so that its key counts as used
            await self._forwarder.websocket(scope, receive, send, self._upstream_path(surface, path))
            return
        door = surface.doors.get(f"{scope['method']} {path}") if surface else None
        if door and surface:
            await self._through(door, surface, path, scope, receive, send)
        elif surface and path.startswith(tuple(surface.protocols)):
            request = DoorRequest.from_scope(scope, receive, path)
            prefix = scope["path"].removesuffix(path)
            await self._ofrep.serve(scope["method"], request, prefix, functools.partial(self._count, surface, scope["method"], path), send)
        elif path == "/metrics" and surface is None:
            await DoorAnswer(200, metrics.render(), metrics.CONTENT_TYPE).send(send)
        elif surface is OTLP:
            request = DoorRequest.from_scope(scope, receive, path)
            await self._otlp.refuse(request, NotFound("Send POST to /v1/traces, /v1/metrics or /v1/logs.")).send(send)
        else:
            headers: dict[str, str] = {}
            try:
                caller = self._admission.recognise(scope["headers"], surface.cookie if surface else "")
                await self._count(surface, scope["method"], path, caller, headers)
                await self._forwarder.http(scope, receive, send, self._upstream_path(surface, path), headers)
            except MillstreamError as error:
                await error_answer(error, _codes(surface)).send(send, headers)

    def _place(self, scope: Scope) -> tuple[Surface | None, str]:
        """The surface and the path within it; no surface for the platform's own paths."""
        path: str = scope["path"]
        server = scope.get("server") or ("", 0)
        surface = self._ports.get(server[1])
        if surface is not None:
            return surface, path
        first, _, rest = path.lstrip("/").partition("/")
        surface = self._prefixes.get(first)
        return (surface, "/" + rest) if surface else (None, path)

    async def _count(self, surface: Surface | None, method: str, path: str, caller: Caller | None, headers: dict[str, str]) -> Count | None:
        """Count the request where its key is limited; the headers that say so are added. Raises RateLimited.

        Where not the request counts but its events, the answer is what counts them.
        """
        if not surface or not caller or caller.tier not in surface.limited_tiers:
            return None
        budget = surface.budget(method, path)
        rates = budget.rates.get(caller.tier) if budget else None
        if not budget or not rates:
            return None
        take = functools.partial(self._quota.take, surface.name, f"{caller.tenant}/{caller.key_id}", rates, headers)
        await take(0 if budget.by_events else 1)
        return take if budget.by_events else None

    def _upstream_path(self, surface: Surface | None, path: str) -> str:
        return f"/{surface.name}{path}" if surface else path

    async def _through(self, door: str, surface: Surface, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = DoorRequest.from_scope(scope, receive, path)
        is_otlp = surface in (LLM, OTLP)
        headers: dict[str, str] = {}
        try:
            answer = await self._admit(door, surface, scope["method"], request, is_otlp, headers)
        except ClientGone:
            return
        except MillstreamError as error:
            answer = self._otlp.refuse(request, error) if is_otlp else error_answer(error, _codes(surface))
        except Exception:
            _log.exception("door failed", door=door)
            failure = MillstreamError("The platform failed on this request; it is logged. Nothing was acknowledged, so send it again.")
            answer = self._otlp.refuse(request, failure) if is_otlp else error_answer(failure, _codes(surface))
        metrics.requests(door, answer.status).inc()
        metrics.request_seconds(door).observe(time.perf_counter() - started)
        await answer.send(send, headers)

    async def _admit(self, door: str, surface: Surface, method: str, request: DoorRequest, is_otlp: bool, headers: dict[str, str]) -> DoorAnswer:
        caller = self._admission.identify(request.headers, request.client, keyless=is_otlp, cookie=surface.cookie)
        count = await self._count(surface, method, request.path, caller, headers) if caller.tier in surface.limited_tiers else None
        if door in self._questions:
            caller.check_may_evaluate()
            return await self._questions[door](request, caller)
        caller.check_may_send()
        with self._admission.reserve(max(request.content_length, 1_024)):
            body = await request.raw_body(self._max_body) if is_otlp else await self._json.body(request)
            metrics.bytes_of(door).inc(len(body))
            store = self._otlp.handle if is_otlp else self._handlers[door]
            if count:
                store = functools.partial(self._json.telemetry_batch, count=count)
            key = request.headers.get("idempotency-key")
            if not key:
                return await store(request, caller.tenant, body, None)
            return await self._keys.once(caller.tenant, request.path, key, body, functools.partial(store, request, caller.tenant, body))


def _codes(surface: Surface | None) -> Callable[[str], str]:
    names = surface.codes if surface else {}
    return lambda code: names.get(code, code)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

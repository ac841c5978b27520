"""ClickHouse's HTTP interface as an ASGI application over the in-process engine."""

import asyncio
import base64
import binascii
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import structlog

from infra.embedded.body_encoding import MAX_BODY_BYTES, decoded
from infra.embedded.engine import Answer, Engine, Limits, Request
from infra.embedded.engine_errors import EngineFailure, failure, status_of
from infra.embedded.form import form_fields

log = structlog.get_logger()

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_NOT_SETTINGS = frozenset(
    {
        *("query", "query_id", "database", "user", "password", "role", "quota_key", "default_format", "stacktrace", "framed"),
        *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"),
        *("compress", "decompress", "enable_http_compression", "buffer_size", "wait_end_of_query"),
    }
)
_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "Native": "application/octet-stream",
    "ArrowStream": "application/vnd.apache.arrow.stream",
    "Arrow": "application/vnd.apache.arrow.file",
    "Parquet": "application/vnd.apache.parquet",
}
_MAX_WAITING = 200


class EngineInterface:
    """The application. Reads and writes have threads of their own, so that neither keeps the other waiting."""

    def __init__(self, engine: Engine, *, writer: tuple[str, str], reader: tuple[str, str], limits: Limits) -> None:
        self._engine = engine
        self._passwords = dict((writer, reader))
        self._reader = reader[0]
        self._limits = limits
        self._writes = ThreadPoolExecutor(6, thread_name_prefix="engine-write")
        self._reads = ThreadPoolExecutor(8, thread_name_prefix="engine-read")
        self._waiting = 0

    def close(self) -> None:
        """Wait for the running statements."""
        self._writes.shutdown()
        self._reads.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        if path == "/ping" or (path == "/" and scope["method"] == "GET" and not scope["query_string"]):
            await _send(send, 200, b"Ok.\n", {"content-type": "text/plain; charset=UTF-8"})
            return
        if path != "/":
            await _send(send, 404, f"There is no handle {path}\n".encode(), {"content-type": "text/plain; charset=UTF-8"})
            return
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        query_id = query.get("query_id") or str(uuid.uuid4())
        answer_headers = {"x-clickhouse-query-id": query_id, "x-clickhouse-server-display-name": "millstream", "x-clickhouse-timezone": "UTC"}
        try:
            user = self._authenticate(query, headers)
            body, encoding = await _body(receive), headers.get("content-encoding", "")
            is_form = headers.get("content-type", "").startswith("multipart/form-data")
            if is_form or not query.get("query"):
                body, encoding = decoded(body, encoding), ""
            if is_form:
                query |= await form_fields(headers, body)
                body = b""
            answer = await self._run(user, str(scope["method"]), query, headers, body, encoding)
        except EngineFailure as error:
            log.warning("engine_refused", code=error.code, name=error.name, query_id=query_id)
            answer_headers.update({"content-type": "text/plain; charset=UTF-8", "x-clickhouse-exception-code": str(error.code)})
            await _send(send, status_of(error.code), error.message.encode() + b"\n", answer_headers)
            return
        answer_headers.update(
            {
                "content-type": _CONTENT_TYPES.get(answer.format, "text/plain; charset=UTF-8"),
                "x-clickhouse-format": answer.format,
                "x-clickhouse-summary": _summary(answer),
            }
        )
        await _send(send, 200, answer.data, answer_headers)

    async def _run(self, user: str, method: str, query: dict[str, str], headers: Mapping[str, str], body: bytes, encoding: str) -> Answer:
        sql = query.get("query", "").encode()
        if query.get("compress") == "1" or query.get("decompress") == "1":
            raise failure(48, "NOT_IMPLEMENTED", "Use Content-Encoding and Accept-Encoding instead of compress and decompress")
        if not sql:
            sql, body = body, b""
        if not sql.strip():
            raise failure(62, "SYNTAX_ERROR", "Empty query")
        request = Request(
            sql=sql,
            body=body,
            encoding=encoding,
            format=query.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
            settings={name: value for name, value in query.items() if name not in _NOT_SETTINGS and not name.startswith("param_")},
            parameters={name.removeprefix("param_"): value for name, value in query.items() if name.startswith("param_")},
            database=query.get("database") or headers.get("x-clickhouse-database", ""),
            limits=self._limits if user == self._reader else None,
            changes=method != "GET",
        )
        if self._waiting >= _MAX_WAITING:
            raise failure(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"{self._waiting} statements are running or waiting")
        writes = request.limits is None and sql.lstrip()[:6].upper() == b"INSERT"
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writes if writes else self._reads, self._engine.run, request)
        finally:
            self._waiting -= 1

    def _authenticate(self, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        user, password = query.get("user", ""), query.get("password", "")
        if "x-clickhouse-user" in headers:
            user, password = headers["x-clickhouse-user"], headers.get("x-clickhouse-key", "")
        elif headers.get("authorization", "").lower().startswith("basic "):
            try:
                user, _, password = base64.b64decode(headers["authorization"][6:], validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise failure(516, "AUTHENTICATION_FAILED", "The Authorization header cannot be read") from error
        expected = self._passwords.get(user)
        if expected is None or not hmac.compare_digest(expected.encode(), password.encode()):
            raise failure(516, "AUTHENTICATION_FAILED", f"{user}: Authentication failed: password is incorrect, or there is no user with such name")
        return user


def _summary(answer: Answer) -> str:
    return json.dumps(
        {
            "read_rows": str(answer.read_rows),
            "read_bytes": str(answer.read_bytes),
            "written_rows": str(answer.written_rows),
            "written_bytes": str(answer.written_bytes),
            "result_bytes": str(len(answer.data)),
            "elapsed_ns": str(answer.elapsed_ns),
        },
        separators=(",", ":"),
    )


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise failure(210, "NETWORK_ERROR", "The client went away before the body was complete")
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise failure(223, "QUERY_IS_TOO_LARGE", f"The body is larger than {MAX_BODY_BYTES} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _send(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})

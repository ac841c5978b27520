"""What is forwarded arrives as it was sent, and what is answered goes back as it was said."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from infra.runtime.errors import Unavailable
from ingest.forward import Forwarder
from tests.support import eventually, free_port


class Upstream:
    """A query service that notes what it is asked and answers with what it is told."""

    def __init__(self) -> None:
        self.scope: Any = None
        self.body = b""
        self.whole: bool | None = None
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = [b"answer"]
        self.reads = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.body, self.whole = scope, b"", None
        while self.reads and self.whole is None:
            message = await receive()
            self.body += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                self.whole = message["type"] == "http.request"
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    def header(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.scope["headers"] if key == name]


class Client:
    """One request as the front sees it, and what it gets back."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def ask(
        self, method: str = "GET", path: str = "/x", query: bytes = b"", headers: Any = (), messages: Any = (), more: Any = None, receive: Any = None
    ) -> "Client":
        left = iter(messages)

        async def each() -> Any:
            return next(left)

        async def send(message: Any) -> None:
            self.status = message.get("status", self.status)
            self.headers += message.get("headers", [])
            self.body += message.get("body", b"")

        scope = {"method": method, "query_string": query, "headers": [(b"host", b"front"), *headers], "client": ("192.0.2.7", 5)}
        await self._forwarder.http(scope, receive or each, send, path, more or {})
        return self


@pytest.fixture
async def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[Client]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(upstream, http="httptools", lifespan="off", log_level="error", server_header=False, date_header=False))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started)
    forwarder = Forwarder(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    yield Client(forwarder)
    await forwarder.close()
    server.should_exit = True
    await task


def pieces(*parts: bytes) -> list[dict[str, Any]]:
    return [{"type": "http.request", "body": part, "more_body": number < len(parts) - 1} for number, part in enumerate(parts)]


@pytest.mark.parametrize("path", ["/a b/ü/%2F", "/a/../b", "/a//b", "/a?b#c", "/line\nbreak"])
async def test_the_path_arrives_as_it_is(client: Client, upstream: Upstream, path: str) -> None:
    await client.ask(path=path)
    assert upstream.scope["path"] == path


@pytest.mark.parametrize("query", [b"a=1&a=2&b=%20+%22", b"q=a'b(c)[d]{e}|f", b"x=%zz", b"=", b"a=?b"])
async def test_the_query_string_arrives_as_it_is(client: Client, upstream: Upstream, query: bytes) -> None:
    await client.ask(query=query)
    assert upstream.scope["query_string"] == query


async def test_a_query_string_that_is_not_ascii_arrives_encoded(client: Client, upstream: Upstream) -> None:
    await client.ask(query="q=ü".encode())
    assert upstream.scope["query_string"] == b"q=%C3%BC"


async def test_headers_arrive_as_they_are_without_those_between_neighbours(client: Client, upstream: Upstream) -> None:
    sent = [(b"x-one", b"1"), (b"x-one", b"2"), (b"x-text", "ü".encode()), (b"cookie", b'a="b"; c')]
    between = [(b"connection", b"keep-alive, upgrade"), (b"upgrade", b"h2c"), (b"te", b"trailers"), (b"expect", b"100-continue")]
    await client.ask(headers=[*sent, *between])
    assert [pair for pair in upstream.scope["headers"] if pair[0] not in (b"host", b"x-forwarded-for", b"x-forwarded-host")] == sent
    assert upstream.header(b"x-forwarded-for") == [b"192.0.2.7"] and upstream.header(b"x-forwarded-host") == [b"front"]


@pytest.mark.parametrize("length", [True, False])
async def test_a_body_arrives_whole_however_it_is_sent(client: Client, upstream: Upstream, length: bool) -> None:
    parts = (b"a" * 100_000, b"", b"b")
    sized = (b"content-length", b"100001") if length else (b"transfer-encoding", b"chunked")
    await client.ask("POST", headers=[sized], messages=pieces(*parts))
    assert upstream.whole and upstream.body == b"".join(parts)


async def test_an_empty_body_keeps_its_length(client: Client, upstream: Upstream) -> None:
    await client.ask("POST", headers=[(b"content-length", b"0")], messages=pieces(b""))
    assert upstream.whole and upstream.body == b"" and upstream.header(b"content-length") == [b"0"]


async def test_a_body_that_breaks_off_is_never_taken_for_whole(client: Client, upstream: Upstream) -> None:
    messages = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    with pytest.raises(Unavailable):
        await client.ask("POST", headers=[(b"transfer-encoding", b"chunked")], messages=messages)
    await eventually(lambda: upstream.scope is None or upstream.whole is False)


async def test_an_answer_that_comes_before_the_body_is_whole_goes_back_at_once(client: Client, upstream: Upstream) -> None:
    upstream.reads, upstream.status, more = False, 413, asyncio.Event()

    async def receive() -> Any:
        if not more.is_set():
            more.set()
            return {"type": "http.request", "body": b"a" * 10_000, "more_body": True}
        await asyncio.Event().wait()

    answer = await asyncio.wait_for(client.ask("POST", headers=[(b"content-length", b"20000")], receive=receive), 30)
    assert (answer.status, answer.body) == (413, b"answer")
    upstream.reads = True
    assert (await asyncio.wait_for(client.ask(), 30)).status == 413


async def test_an_answer_goes_back_as_it_is_with_more_headers(client: Client, upstream: Upstream) -> None:
    upstream.status, upstream.pieces = 207, [b"\x1f\x8bnot gzip", b"", b"more"]
    upstream.headers = [(b"content-encoding", b"gzip"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-long", b"v" * 20_000)]
    answer = await client.ask(more={"X-More": "1"})
    assert (answer.status, answer.body) == (207, b"\x1f\x8bnot gzipmore")
    assert answer.headers == [*upstream.headers, (b"x-more", b"1")]


@pytest.mark.parametrize("status", [301, 303, 307])
async def test_a_redirect_is_the_clients_to_follow(client: Client, upstream: Upstream, status: int) -> None:
    upstream.status, upstream.headers = status, [(b"location", b"/elsewhere")]
    answer = await client.ask()
    assert answer.status == status and (b"location", b"/elsewhere") in answer.headers


async def test_an_answer_to_head_has_the_length_and_no_body(client: Client, upstream: Upstream) -> None:
    upstream.headers, upstream.pieces = [(b"content-length", b"6")], []
    answer = await client.ask("HEAD")
    assert answer.headers == [(b"content-length", b"6")] and answer.body == b""


async def test_a_query_service_that_is_away_is_unavailable() -> None:
    forwarder = Forwarder(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable) as error:
        await Client(forwarder).ask()
    assert error.value.retry_after_s == 1
    await forwarder.close()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_request_whose_connection_breaks_is_not_sent_again(method: str) -> None:
    asked = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        forwarder = Forwarder(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(Unavailable):
            await Client(forwarder).ask(method)
        await forwarder.close()
    assert len(asked) == 1

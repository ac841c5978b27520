"""Requests that offer HTTP/2 are answered in HTTP/1.1 with their whole body, and so is what follows on the connection."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from ingest.http_protocol import HttpProtocol
from tests.support import eventually

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Method, path, and the body as it came."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = f"{scope['method']} {scope['path']} ".encode() + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(answer)).encode())]})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(echo, http=HttpProtocol, lifespan="off", log_level="error", server_header=False, date_header=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started)
    yield listener.getsockname()[1]
    server.should_exit = True
    await task


async def answers(port: int, *pieces: bytes, count: int = 1) -> list[bytes]:
    """Send the pieces one by one and read so many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # so that the server reads them as they were written, most of the time
        for _ in range(count):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            found.append(head.split(b"\r\n")[0].removeprefix(b"HTTP/1.1 ") + b" " + await asyncio.wait_for(reader.readexactly(length), 10))
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return found


def request(body: bytes, path: bytes = b"/a?x=1", offer: bytes = OFFER) -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nHost: h\r\n" + offer + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


async def test_the_body_is_read(port: int) -> None:
    assert await answers(port, request(b"hello")) == [b"200 OK POST /a hello"]


@pytest.mark.parametrize("cut", [1, 20, 60, 100, 130, 140])
async def test_wherever_the_request_is_cut(port: int, cut: int) -> None:
    whole = request(b"x" * 50)
    assert await answers(port, whole[:cut], whole[cut:]) == [b"200 OK POST /a " + b"x" * 50]


async def test_a_long_body_in_many_pieces(port: int) -> None:
    whole = request(b"y" * 300_000)
    pieces = [whole[start : start + 50_000] for start in range(0, len(whole), 50_000)]
    assert await answers(port, *pieces) == [b"200 OK POST /a " + b"y" * 300_000]


async def test_a_chunked_body(port: int) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: h\r\n" + OFFER + b"Transfer-Encoding: chunked\r\n\r\n"
    assert await answers(port, head, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n") == [b"200 OK POST /a abcde"]


async def test_what_follows_on_the_connection_is_answered_in_order(port: int) -> None:
    whole = request(b"one") + request(b"two", b"/b", b"") + request(b"three", b"/c") + b"GET /d HTTP/1.1\r\nHost: h\r\n" + OFFER + b"\r\n"
    expected = [b"200 OK POST /a one", b"200 OK POST /b two", b"200 OK POST /c three", b"200 OK GET /d "]
    assert await answers(port, whole, count=4) == expected
    assert await answers(port, request(b"one"), request(b"two", b"/b", b""), count=2) == expected[:2]


async def test_text_in_a_body_is_no_offer(port: int) -> None:
    assert await answers(port, request(OFFER, offer=b"")) == [b"200 OK POST /a " + OFFER]


async def test_rubbish_is_400(port: int) -> None:
    assert (await answers(port, b"rubbish\r\n\r\n"))[0].startswith(b"400 ")
    assert (await answers(port, request(b"", offer=OFFER + b"Content-Length: 1\r\n")))[0].startswith(b"400 ")

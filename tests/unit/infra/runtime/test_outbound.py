"""No name, spelling or redirect leads to an address that is not public."""

import socket
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from infra.runtime.outbound import Answer, Outbound, is_address, networks

LOOPBACK = networks("127.0.0.0/8, ::1/128")
NOT_PUBLIC = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.9.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00::1", "ff02::1", "2001:db8::1", "100::1", "3fff::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::",
    "not an address", "",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2001:200::1", "::ffff:1.1.1.1"]


class Names(AbstractResolver):
    """Resolves every name, each time to the next of some answers, and stays with the last one."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET6 if ":" in each else socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)
            for each in answer
        ]

    async def close(self) -> None:
        pass


class Receiver:
    """A server on loopback that notes what reaches it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.server = TestServer(self._app())

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        if request.path == "/moved":
            return web.Response(status=307, headers={"Location": "/taken"})
        if request.path == "/busy":
            return web.Response(status=503, headers={"Retry-After": "120"})
        return web.Response(text="x" * 100_000)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.server.start_server()
    yield receiver
    await receiver.server.close()


async def post(outbound: Outbound, url: str) -> Answer:
    try:
        return await outbound.post(url, b"{}", {})
    finally:
        await outbound.close()


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not Outbound((), 1.0).permits(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert Outbound((), 1.0).permits(address)


def test_an_allowed_network_is_reached_in_both_spellings_and_nothing_beside_it() -> None:
    outbound = Outbound(networks("10.1.0.0/16,fd00:1::/32"), 1.0)
    assert [outbound.permits(each) for each in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5")] == [True, True, True]
    assert [outbound.permits(each) for each in ("10.2.0.1", "127.0.0.1", "fd00:2::5")] == [False, False, False]


def test_a_setting_that_is_no_network_is_named() -> None:
    assert networks("") == ()
    with pytest.raises(ValueError, match="office"):
        networks("10.0.0.0/8,office")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
async def test_no_spelling_of_this_machine_is_reached(receiver: Receiver, host: str) -> None:
    answer = await post(Outbound((), 5.0), f"http://{host}:{receiver.server.port}/taken")
    assert answer.status is None and answer.problem
    assert receiver.paths == []


async def test_a_name_of_a_private_address_is_refused_without_telling_the_address(receiver: Receiver) -> None:
    answer = await post(Outbound((), 5.0, Names(["127.0.0.1"])), f"http://hooks.example:{receiver.server.port}/taken")
    assert "not public" in answer.problem and "127" not in answer.problem
    assert receiver.paths == []


async def test_a_name_that_changes_its_answer_is_judged_by_the_address_it_leads_to(receiver: Receiver) -> None:
    names = Names(["1.1.1.1"], ["127.0.0.1"])
    assert [each["host"] for each in await names.resolve("hooks.example")] == ["1.1.1.1"]
    answer = await post(Outbound((), 5.0, names), f"http://hooks.example:{receiver.server.port}/taken")
    assert "not public" in answer.problem and receiver.paths == []


async def test_of_several_addresses_only_the_permitted_are_tried(receiver: Receiver) -> None:
    names = Names(["169.254.169.254", "10.0.0.1", "127.0.0.1"])
    answer = await post(Outbound(LOOPBACK, 5.0, names), f"http://hooks.example:{receiver.server.port}/taken")
    assert (answer.status, receiver.paths) == (200, ["/taken"])


async def test_every_connection_resolves_anew(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"])
    outbound = Outbound(LOOPBACK, 5.0, names)
    for _ in range(2):
        assert (await outbound.post(f"http://hooks.example:{receiver.server.port}/taken", b"{}", {})).status == 200
    await outbound.close()
    assert len(names.asked) == len(receiver.paths) == 2


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    answer = await post(Outbound(LOOPBACK, 5.0), f"http://127.0.0.1:{receiver.server.port}/moved")
    assert (answer.status, receiver.paths) == (307, ["/moved"])


async def test_what_the_receiver_asks_for_is_reported(receiver: Receiver) -> None:
    answer = await post(Outbound(LOOPBACK, 5.0), f"http://127.0.0.1:{receiver.server.port}/busy")
    assert (answer.status, answer.retry_after_s) == (503, 120)


async def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{receiver.server.port}")
    answer = await post(Outbound((), 5.0, Names(["10.0.0.1"])), "http://hooks.example/taken")
    assert answer.status is None and receiver.paths == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "http://", "nonsense", "http://[::1"])
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    answer = await post(Outbound(LOOPBACK, 5.0), url)
    assert answer.status is None and answer.problem


async def test_a_receiver_that_hangs_is_given_up(receiver: Receiver) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        answer = await post(Outbound(LOOPBACK, 0.2), f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert answer.status is None and "0.2 s" in answer.problem


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = await post(Outbound(LOOPBACK, 5.0), f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert "does not take the connection" in answer.problem


def test_names_and_addresses_are_told_apart() -> None:
    assert is_address("127.0.0.1") and is_address("fe80::1%eth0")
    assert not is_address("localhost") and not is_address("2130706433")

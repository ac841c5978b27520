"""HTTP to addresses that strangers chose: only public ones are reached, whatever a name resolves to."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What the registries of special addresses of IANA (RFC 6890 and later) do not call globally reachable. Written out, because
# the standard library's own list changed between Python versions.
_NOT_PUBLIC_4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
_PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
# Within it: protocol assignments (Teredo among them), documentation, and 6to4, which leads to any IPv4 address.
_NOT_PUBLIC_6: Final = tuple(ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))


class AddressRefused(OSError):
    """A connection was about to go where it may not."""


class Answer(NamedTuple):
    """How a request ended. `status` is None when no answer came; then `problem` says why."""

    status: int | None
    problem: str
    seconds: float
    retry_after_s: int | None = None
    """What the receiver asked for, if it did so in seconds."""
    body: bytes = b""
    """As much of the answer as was asked for."""


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a comma-separated setting. Raises ValueError naming the one that is none."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def is_address(host: str) -> bool:
    """Whether a host is written as an address and not as a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class Outbound:
    """Posts to URLs of strangers.

    Every connection is checked when it is made, by the very address it goes to, so neither a name that changes its mind nor
    an unusual spelling of an address gets around it. Redirects are never followed, proxies of the environment not used, cookies
    not kept, bodies of answers not read unless asked for.
    """

    def __init__(self, allowed: Iterable[Network], timeout_s: float, resolver: AbstractResolver | None = None) -> None:
        """Connects to nothing. `allowed` are networks that may be reached although they are not public."""
        self._allowed = tuple(allowed)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    def permits(self, address: str) -> bool:
        """Whether a connection to this address may be made. What is no address may not be."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        plain = mapped or parsed
        return is_public(plain) or any(plain in network for network in self._allowed)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Sends a request; whatever goes wrong is in the answer. Takes at most the timeout."""
        return await self.ask(url, body, headers)

    async def ask(self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float | None = None, read: int = 0) -> Answer:
        """`post` with a timeout of its own, which reads at most `read` bytes of what is answered."""
        began = time.monotonic()
        limit = self._timeout if timeout_s is None else aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._open().post(url, data=body, headers=headers, allow_redirects=False, timeout=limit) as response:
                wait = response.headers.get("Retry-After", "")
                # Eight digits are more than a day; more would only make the sums large.
                seconds = int(wait) if wait.isascii() and wait.isdigit() and len(wait) <= 8 else None
                content = await _beginning(response, read)
                return Answer(response.status, "", time.monotonic() - began, seconds, content)
        except TimeoutError:
            problem = f"no answer within {limit.total:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = _words(error)
        return Answer(None, problem, time.monotonic() - began)

    async def close(self) -> None:
        """Closes what is open; idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        # Made here, because a session belongs to the loop that runs when it is made.
        if self._session is None:
            # A connection for each message: one kept open may be to an address that the name no longer has.
            connector = aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, socket_factory=self._socket, force_close=True, limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
            )
        return self._session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = info
        if not self.permits(str(place[0])):
            raise AddressRefused("the address is not public; an operator may allow its network")
        return socket.socket(family=family, type=kind, proto=protocol)


async def _beginning(response: aiohttp.ClientResponse, size: int) -> bytes:
    found = b""
    while len(found) < size and (part := await response.content.read(size - len(found))):
        found += part
    return found


def _words(error: Exception) -> str:
    """The reason in a few words, without addresses: what an internal name resolves to is nobody's business."""
    inner = getattr(error, "os_error", error)
    if isinstance(inner, AddressRefused):
        return str(inner)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name of the host does not resolve"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "the certificate of the host is not valid"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "the host does not take the connection"
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return "the URL is not one that can be called"
    if isinstance(error, asyncio.IncompleteReadError | aiohttp.ServerDisconnectedError):
        return "the host closed the connection without an answer"
    return f"the exchange broke: {type(error).__name__}"

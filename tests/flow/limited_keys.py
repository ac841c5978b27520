"""Keys of a tier, for tests of rate limits."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle

import aiohttp
import httpx

from schemas.api_keys import hash_secret
from tests.flow.stack import LiveStack
from tests.support import eventually


async def key_of(live: LiveStack, tier: str, url: str = "", role: str = "member") -> dict[str, str]:
    """Headers with a new key of the tier, once ingest at `url` and the query service know it."""
    text = f"tiered-key-{uuid.uuid4().hex}"
    key = {"kind": "key", "id": f"k-{uuid.uuid4().hex[:10]}", "name": f"{tier} key", "sha256": hash_secret(text), "tier": tier, "role": role}
    await asyncio.to_thread(live.define, key)
    headers = {"Authorization": f"Bearer {text}"}
    async with httpx.AsyncClient(base_url=url or live.main_url, headers=headers, timeout=30) as client:

        async def known() -> bool:
            # Of surfaces that count nothing: a door of ingest and a path that goes on to the query service.
            answers = await client.post("/llm/v1/traces", json={"resourceSpans": []}), await client.get("/platform/v1/windows/significance")
            return all(answer.status_code != 401 for answer in answers)

        await eventually(known)
    return headers


async def until_refused(
    method: str, urls: Sequence[str], headers: Mapping[str, str], side_by_side: int, json: Mapping[str, str] | None = None
) -> tuple[list[httpx.Response], httpx.Response]:
    """The request in bursts, to each of the addresses in turn, until one was refused, but at most ten bursts: every answer, and the first that was refused.

    Who is to be refused has to ask more often in a second than the limit, on a slow machine too, and httpx takes several times as long for a request as aiohttp.
    """
    turns = cycle(urls)
    answers: list[httpx.Response] = []
    limits, timeout = aiohttp.TCPConnector(limit=32), aiohttp.ClientTimeout(30)
    async with aiohttp.ClientSession(connector=limits, timeout=timeout, headers=headers) as session:

        async def ask() -> httpx.Response:
            async with session.request(method, next(turns), json=json) as answer:
                return httpx.Response(answer.status, headers=list(answer.headers.items()), content=await answer.read())

        for _ in range(10):
            answers += await asyncio.gather(*(ask() for _ in range(side_by_side)))
            refused = [answer for answer in answers if answer.status_code == 429]
            if refused:
                return answers, refused[0]
    raise AssertionError("no request was refused")


def passed_per_window(answers: list[httpx.Response]) -> Counter[str]:
    """How many requests passed, by the end of the window they say they were counted in."""
    return Counter(answer.headers["x-ratelimit-reset"] for answer in answers if answer.status_code != 429)

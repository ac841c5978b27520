"""When a key was last used is seen in the list of keys, whatever way it came in."""

import asyncio
import datetime as dt
import uuid
from typing import Any

import httpx

from schemas.api_keys import hash_secret
from tests.flow.stack import LiveStack
from tests.support import eventually


async def test_the_last_use_of_a_key_is_listed(live: LiveStack) -> None:
    texts = {way: f"used-key-{uuid.uuid4().hex}" for way in ("door", "otlp", "forwarded", "never")}
    ids = {way: f"k-{text[-10:]}" for way, text in texts.items()}
    keys = [{"kind": "key", "id": ids[way], "name": way, "sha256": hash_secret(text)} for way, text in texts.items()]
    await asyncio.to_thread(live.define, *keys)
    ways = {
        "door": ("POST", "/experimentation/api/v1/events"),
        "otlp": ("POST", "/llm/v1/traces"),
        "forwarded": ("GET", "/experimentation/api/v1/no-such-path"),
    }
    before = dt.datetime.now(dt.UTC)
    async with httpx.AsyncClient(base_url=live.main_url, timeout=30) as client:

        async def used() -> bool:
            for way, (method, path) in ways.items():
                await client.request(method, path, headers={"X-API-Key": texts[way]}, json={} if method == "POST" else None)
            found = {item["id"]: item["last_used_at"] for item in await _listed(client, live)}
            return found[ids["never"]] is None and all(found[ids[way]] and dt.datetime.fromisoformat(found[ids[way]]) > before for way in ways)

        await eventually(used)


async def _listed(client: httpx.AsyncClient, live: LiveStack) -> list[dict[str, Any]]:
    answer = await client.get("/experimentation/api/v1/api-keys", params={"limit": 100}, headers=live.headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["data"]
    return items

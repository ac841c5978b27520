"""Asking a model through an OpenAI-compatible `/chat/completions`."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from infra.runtime.outbound import Answer, Outbound

MAX_ANSWER: Final = 1_048_576
"""Bytes of an answer that are read."""
_AGAIN: Final = frozenset({408, 409, 425, 429})


class ChatKey(NamedTuple):
    """A key for models, and where it may go: nobody can send it elsewhere by writing another address into a rule."""

    key: str
    origin: str
    """Scheme, host and port."""
    tenants: tuple[str, ...] = ()
    """Who may use it; empty for all."""

    def __repr__(self) -> str:
        return f"ChatKey(origin={self.origin!r})"


class ChatAnswer(NamedTuple):
    """What a model answered."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class ChatFailed(Exception):
    """No usable answer came."""

    def __init__(self, reason: str, detail: str, *, again: bool = False, retry_after_s: int | None = None) -> None:
        """`reason` is one word, `detail` a sentence without the key; `again` says whether another attempt may help."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.again = again
        self.retry_after_s = retry_after_s


def chat_keys(text: str) -> dict[str, ChatKey]:
    """The keys of a setting by name: `{"name": {"key": "sk-...", "base_url": "https://api.openai.com/v1", "tenants": ["default"]}}`, the last optional.

    Raises ValueError with the fix, never with a key in it.
    """
    try:
        found = orjson.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, dict) and each.keys() <= {"key", "base_url", "tenants"} for each in found.values()):
        raise ValueError('MILLSTREAM_EVALUATION_SECRETS must be JSON such as {"openai": {"key": "sk-...", "base_url": "https://api.openai.com/v1"}}')
    keys = {}
    for name, each in found.items():
        origin = origin_of(str(each.get("base_url", "")))
        if not each.get("key") or not isinstance(each["key"], str) or origin is None:
            raise ValueError(f"MILLSTREAM_EVALUATION_SECRETS: {name!r} needs a `key` and the `base_url` it may be sent to, such as https://api.openai.com/v1")
        keys[name] = ChatKey(each["key"], origin, tuple(each.get("tenants") or ()))
    return keys


def origin_of(url: str) -> str | None:
    """Scheme, host and port of a URL; None for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname else None


def key_for(keys: Mapping[str, ChatKey], name: str, url: str, tenant: str) -> str | None:
    """The key of a name, None for no name. Raises ChatFailed when there is none, or it may not be used for this."""
    if not name:
        return None
    found = keys.get(name)
    if found is None or (found.tenants and tenant not in found.tenants):
        raise ChatFailed("secret", f"there is no secret {name!r} for this tenant; an operator adds it to MILLSTREAM_EVALUATION_SECRETS")
    if found.origin != origin_of(url):
        raise ChatFailed("secret", f"the secret {name!r} may only be sent to {found.origin}")
    return found.key


async def ask_model(outbound: Outbound, url: str, key: str | None, request: Mapping[str, Any], *, traceparent: str, timeout_s: float) -> ChatAnswer:
    """One attempt. Raises ChatFailed."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity", "traceparent": traceparent}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return _read(await outbound.ask(url, orjson.dumps(request), headers, timeout_s=timeout_s, read=MAX_ANSWER))


def _read(answer: Answer) -> ChatAnswer:
    if answer.status is None:
        reason = "timeout" if answer.problem.startswith("no answer within") else "unreachable"
        raise ChatFailed(reason, answer.problem, again="not public" not in answer.problem)
    if answer.status != 200:
        again = answer.status in _AGAIN or answer.status >= 500
        detail = f"the endpoint answered {answer.status}: {answer.body[:300].decode(errors='replace')}"
        raise ChatFailed("overloaded" if again else "refused", detail, again=again, retry_after_s=answer.retry_after_s)
    try:
        body = orjson.loads(answer.body)
        text = body["choices"][0]["message"]["content"]
        usage = body.get("usage") or {}
        found = ChatAnswer(text, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        found = None
    if found is None or not isinstance(found.text, str):
        raise ChatFailed("bad_answer", f"the answer is not that of a chat completion: {answer.body[:300].decode(errors='replace')}")
    return found

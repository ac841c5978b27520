"""Asking models: keys go only where they belong, and every answer is an answer or a failure with a reason."""

import json
from typing import Any

import pytest

from infra.runtime.chat import ChatFailed, ask_model, chat_keys, key_for, origin_of
from infra.runtime.outbound import Outbound, networks
from tests.flow.model_server import Reply, model_server

KEY = "sk-secret-0123456789"
SECRETS = json.dumps({"openai": {"key": KEY, "base_url": "https://api.openai.com/v1"}, "own": {"key": "k", "base_url": "http://gpu:8000", "tenants": ["acme"]}})
URL = "https://api.openai.com/v1/chat/completions"


async def asked(reply: Reply, *, key: str | None = None, allowed: str = "127.0.0.0/8", timeout_s: float = 5.0) -> tuple[Any, dict[str, str]]:
    """The answer to a call, and the headers of the call."""
    with model_server(lambda *_: reply) as model:
        outbound = Outbound(networks(allowed), 5.0)
        request = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        try:
            answer = await ask_model(outbound, f"{model.base_url}/chat/completions", key, request, traceparent="00-a-b-00", timeout_s=timeout_s)
        finally:
            await outbound.close()
        return answer, model.headers[-1]


async def test_an_answer() -> None:
    answer, headers = await asked(Reply("yes"), key=KEY)
    assert answer == ("yes", 100, 5)
    assert headers["authorization"] == f"Bearer {KEY}" and headers["traceparent"] == "00-a-b-00"


@pytest.mark.parametrize(
    ("reply", "reason", "again"),
    [
        (Reply(status=401, body=b"no"), "refused", False),
        (Reply(status=302, headers={"Location": "http://127.0.0.1:1"}), "refused", False),
        (Reply(status=429, headers={"Retry-After": "7"}), "overloaded", True),
        (Reply(status=503), "overloaded", True),
        (Reply(body=b"<html>"), "bad_answer", False),
        (Reply(body=b"[]"), "bad_answer", False),
        (Reply(body=b'{"choices": []}'), "bad_answer", False),
        (Reply(body=b'{"choices": [{"message": {"content": null}}]}'), "bad_answer", False),
        (Reply(body=b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "many"}}'), "bad_answer", False),
        (Reply(body=b"{" + b" " * 2_000_000), "bad_answer", False),
        (Reply(silent_s=1.0), "timeout", True),
    ],
)
async def test_failures(reply: Reply, reason: str, again: bool) -> None:
    with pytest.raises(ChatFailed) as caught:
        await asked(reply, key=KEY, timeout_s=0.4)
    assert (caught.value.reason, caught.value.again) == (reason, again)
    assert caught.value.retry_after_s == (7 if reply.status == 429 else None)
    assert KEY not in str(caught.value)


async def test_a_private_address_is_refused_unless_allowed() -> None:
    with pytest.raises(ChatFailed, match="the address is not public") as caught:
        await asked(Reply(), allowed="")
    assert caught.value.again is False


def test_a_key_goes_only_to_its_own_host_and_tenants() -> None:
    keys = chat_keys(SECRETS)
    assert key_for(keys, "openai", URL, "acme") == KEY and key_for(keys, "", "http://anywhere/", "acme") is None
    assert key_for(keys, "openai", "https://api.openai.com:443/other", "acme") == KEY
    assert key_for(keys, "own", "http://gpu:8000/v1/chat/completions", "acme") == "k"
    for name, url, tenant in (
        ("openai", "https://evil.example/v1/chat/completions", "acme"),
        ("openai", "http://api.openai.com/v1", "acme"),
        ("openai", "https://api.openai.com.evil.example/v1", "acme"),
        ("openai", "https://api.openai.com:8443/v1", "acme"),
        ("own", "http://gpu:8000/v1", "other"),
        ("unknown", URL, "acme"),
    ):
        with pytest.raises(ChatFailed) as caught:
            key_for(keys, name, url, tenant)
        assert caught.value.reason == "secret" and KEY not in str(caught.value)
    assert KEY not in repr(keys)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": "sk-x"}', '{"a": {"key": "sk-x"}}', '{"a": {"key": "sk-x", "base_url": "nowhere"}}', '{"a": {"kee": "sk-x"}}']
)
def test_a_wrong_setting_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="MILLSTREAM_EVALUATION_SECRETS") as caught:
        chat_keys(text)
    assert "sk-x" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [("HTTPS://A.example/x", "https://a.example:443"), ("http://[::1]:5/", "http://::1:5"), ("ftp://x", None), ("x", None), ("http://x:y", None)],
)
def test_origins(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin


def test_no_keys() -> None:
    assert chat_keys("") == {}

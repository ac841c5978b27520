"""A small server that answers as OpenAI's API does: chat completions, whole and streamed, and embeddings, with the tokens they took."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.clients.loopback_server import loopback_server

MODEL = "gpt-4o-2024-08-06"
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 200, "total_tokens": 1_200, "prompt_tokens_details": {"cached_tokens": 400}}
ANSWER = "It rains."


Reply = Callable[[str], str]
Arguments = Callable[[str], dict[str, Any]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    reply: Reply
    arguments: Arguments

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/embeddings"):
            vectors = [{"object": "embedding", "index": index, "embedding": [0.5, 0.25]} for index, _ in enumerate(asked["input"])]
            self._send(json.dumps({"object": "list", "model": asked["model"], "data": vectors, "usage": {"prompt_tokens": 8, "total_tokens": 8}}))
        elif asked["messages"][-1]["content"] == "fail":
            self._send(json.dumps({"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}), status=404)
        elif asked.get("stream"):
            self._send("".join(f"data: {chunk}\n\n" for chunk in (*_chunks(), "[DONE]")), "text/event-stream")
        else:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": self.reply(asked["messages"][-1]["content"])}}
            if asked.get("tools"):
                arguments = self.arguments(asked["messages"][-1]["content"])
                function = {"name": asked["tools"][0]["function"]["name"], "arguments": json.dumps(arguments)}
                call = {"id": "call_1", "type": "function", "function": function}
                choice = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": [call]}}
            self._send(json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}))

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""

    def _send(self, body: str, content_type: str = "application/json", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())


_HEAD = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": MODEL}


def _chunks() -> Iterator[str]:
    for word in ANSWER.split(" "):
        delta = {"index": 0, "delta": {"role": "assistant", "content": word + " " * (word == "It")}, "finish_reason": None}
        yield json.dumps({**_HEAD, "object": "chat.completion.chunk", "choices": [delta]})
    yield json.dumps({**_HEAD, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield json.dumps({**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})


@contextmanager
def openai_server(reply: Reply = lambda _: ANSWER, arguments: Arguments = lambda _: {"city": "Paris"}) -> Iterator[str]:
    """The base URL of a running one: what it answers to the last message, and what it calls a tool with when it has one."""
    handler = type("Handler", (_Handler,), {"reply": staticmethod(reply), "arguments": staticmethod(arguments)})
    with loopback_server(handler) as url:
        yield f"{url}/v1"

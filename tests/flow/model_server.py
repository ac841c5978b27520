"""A model for tests: an OpenAI-compatible `/chat/completions` on this machine that answers as a test tells it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, NamedTuple


class Reply(NamedTuple):
    """How one call is answered."""

    text: str = "good"
    status: int = 200
    headers: dict[str, str] = {}
    body: bytes | None = None
    """In place of a completion with the text."""
    silent_s: float = 0.0
    """Time before the answer."""


class ModelServer:
    """Keeps every call. `answer` makes the reply from the prompt and the number of times it was asked."""

    def __init__(self, answer: Callable[[str, int], Reply]) -> None:
        self.answer = answer
        self.calls: list[dict[str, Any]] = []
        """Bodies, in the order they came."""
        self.headers: list[dict[str, str]] = []
        self.together = 0
        """Most calls that were under way at once."""
        self._under_way = 0
        self._lock = threading.Lock()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = model._take(request, {name.lower(): value for name, value in self.headers.items()})
                time.sleep(reply.silent_s)
                usage = {"prompt_tokens": 100, "completion_tokens": 5}
                completion = {"choices": [{"message": {"role": "assistant", "content": reply.text}}], "usage": usage}
                body = json.dumps(completion).encode() if reply.body is None else reply.body
                model._done()
                try:
                    self.send_response(reply.status)
                    for name, value in {**reply.headers, "Content-Length": str(len(body))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def prompts(self) -> list[str]:
        """What was asked, in the order it came."""
        return [str(call["messages"][-1]["content"]) for call in self.calls]

    def _take(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        with self._lock:
            prompt = str(request["messages"][-1]["content"])
            asked = self.prompts().count(prompt)
            self.calls.append(request)
            self.headers.append(headers)
            self._under_way += 1
            self.together = max(self.together, self._under_way)
        return self.answer(prompt, asked)

    def _done(self) -> None:
        with self._lock:
            self._under_way -= 1


@contextmanager
def model_server(answer: Callable[[str, int], Reply]) -> Iterator[ModelServer]:
    """A running model."""
    model = ModelServer(answer)
    try:
        yield model
    finally:
        model.server.shutdown()
        model.server.server_close()

"""The storage of Arize's benchmark datasets, which test machines do not reach: an HTTP proxy stands in its place."""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.clients.loopback_server import loopback_server

_FOLDER = "http://storage.googleapis.com/arize-phoenix-assets/evals"


class _Handler(BaseHTTPRequestHandler):
    url: str
    """The only one that is there."""
    archive: bytes

    def do_GET(self) -> None:
        there = self.path == self.url  # a proxy is asked for whole URLs
        body = self.archive if there else b"no such file"
        self.send_response(200 if there else 404)
        self.send_header("content-type", "application/zip" if there else "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_CONNECT = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@contextmanager
def benchmark_storage(task: str, name: str, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """The environment in which a program finds these rows as the task's dataset of that name, and nothing else beyond the loopback by HTTP."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    handler = type("Handler", (_Handler,), {"url": f"{_FOLDER}/{task}/{name}.jsonl.zip", "archive": packed.getvalue()})
    with loopback_server(handler) as proxy:
        yield {"http_proxy": proxy, "no_proxy": "127.0.0.1"}

"""HTTP/1.1 as ingest speaks it: uvicorn's, and offers of another protocol are passed over as RFC 9110, section 7.8 allows.

Java's HTTP client offers HTTP/2 (`Upgrade: h2c`) with the first request of a connection. The parser then stops at the end of the head and
leaves the body unread, which uvicorn takes for a request without a body (its issue 2722). So the head is read a second time, without the offer.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_OFFER = frozenset((b"upgrade", b"http2-settings"))


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            problem = "Invalid HTTP request received."
            self.logger.warning(problem)
            self.send_400_response(problem)
        except httptools.HttpParserUpgrade as stop:
            if self._is_passed_over():
                self._read_again(data[stop.args[0] :])
            elif self._should_upgrade():
                self.handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        if not self._is_passed_over():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._is_passed_over():
            super().on_message_complete()

    def _is_passed_over(self) -> bool:
        """Whether the request offers a protocol other than WebSocket."""
        return self.parser.should_upgrade() and self._get_upgrade() not in (None, b"websocket")

    def _read_again(self, rest: bytes) -> None:
        """Take the request as if it had made no offer; `rest` is what came after its head."""
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1"]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(token.strip() for token in value.split(b",") if token.strip().lower() not in _OFFER)
            if name not in _OFFER:
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

"""The HTTP listener for a worker's metrics: ``GET /metrics``."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import MailError
from mailslot.service.metric_family import CONTENT_TYPE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator

_TIMEOUT: Final = 5.0
"""Seconds that a client may take for each read; one client is served at a time, which suffices for monitoring."""

_KEPT_FOR: Final = 5.0
"""Seconds for which metrics are cached, since the database has to count rows for them."""


class _Server(HTTPServer):
    def __init__(self, listener: socket.socket, read: Callable[[], str], kept_for: float) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._read = read
        self._kept_for = kept_for
        self._text, self._read_at = "", -math.inf

    def metrics(self) -> str:
        """Return the metrics.

        Raises:
            MailError: they cannot be read.
        """
        if time.monotonic() - self._read_at >= self._kept_for:
            self._text = self._read()
            self._read_at = time.monotonic()
        return self._text

    def handle_error(self, request: object, client_address: object) -> None:
        """Do nothing: the client has gone."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _TIMEOUT
    server_version = "mailslot"
    sys_version = ""

    def do_GET(self) -> None:
        status = 200
        if self.path.partition("?")[0] != "/metrics":
            status, text = 404, "# The metrics are at /metrics\n"
        else:
            try:
                text = cast("_Server", self.server).metrics()
            except MailError as error:
                status, text = 503, f"# {error}\n"
        octets = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Do not log each request."""


@contextmanager
def serving_metrics(
    listener: socket.socket, read: Callable[[], str], *, kept_for: float = _KEPT_FOR
) -> Generator[None]:
    """Serve requests in a thread while the block runs.

    Args:
        listener: the socket; it is closed at the end.
        read: returns the metrics; it may block, and raise `MailError`.
        kept_for: seconds for which metrics are cached.
    """
    server = _Server(listener, read, kept_for)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # A slow client must not delay the end of the process.
        ending = threading.Thread(target=server.shutdown, name="metrics end", daemon=True)
        ending.start()
        ending.join(1.0)
        server.server_close()

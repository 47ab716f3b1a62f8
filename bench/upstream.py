"""The servers behind a relay: SMTP that counts what it takes, POP3 that has some mails, and a token service.

They run in threads of the measuring process, do as little as they can, and take every user. SMTP and POP3 are there
over TLS, with XOAUTH2, for email-oauth2-proxy, and SMTP without TLS for the others.
"""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import ssl
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = json.dumps({"access_token": "a" * 1_500, "token_type": "Bearer", "expires_in": 3_600}).encode()


class Upstream:
    """The running servers.

    Attributes:
        plain: the port of SMTP without TLS; `smtps`, `pop3s` and `tokens` are those of the others.
        taken: the messages that SMTP has taken so far.
        mails: those that POP3 has.
    """

    def __init__(self) -> None:
        self.plain = self.smtps = self.pop3s = self.tokens = 0
        self.taken = 0
        self.mails: list[bytes] = []
        self._mutex = threading.Lock()

    def count(self) -> None:
        with self._mutex:
            self.taken += 1

    def wait_for(self, taken: int) -> None:
        """Wait until SMTP has taken so many messages."""
        while self.taken < taken:
            time.sleep(0.002)


class _Session(socketserver.BaseRequestHandler):
    upstream: ClassVar[Upstream]
    context: ClassVar[ssl.SSLContext | None] = None
    greeting = b"220 upstream\r\n"

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection = self.request
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            connection.sendall(self.greeting)
            self.converse(connection)
        except OSError:
            pass

    def converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb", 262_144) as lines:
            for line in lines:
                command = line.split()[0].upper() if line.strip() else b""
                if command == b"QUIT":
                    connection.sendall(self.bye)
                    return
                if command == b"AUTH" and len(line.split()) == 2:
                    connection.sendall(self.challenge)
                    lines.readline()
                self.answer(command, line, lines, connection)

    bye = b"221 bye\r\n"
    challenge = b"334 \r\n"

    def answer(self, command: bytes, line: bytes, lines: object, connection: socket.socket) -> None:
        raise NotImplementedError


class _Smtp(_Session):
    def answer(self, command: bytes, line: bytes, lines: object, connection: socket.socket) -> None:
        if command == b"EHLO":
            connection.sendall(b"250-upstream\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n")
        elif command == b"DATA":
            connection.sendall(b"354 go on\r\n")
            for content in lines:  # type: ignore[attr-defined] - a file
                if content == b".\r\n":
                    break
            self.upstream.count()
            connection.sendall(b"250 taken\r\n")
        else:
            connection.sendall(b"235 welcome\r\n" if command == b"AUTH" else b"250 ok\r\n")


class _Pop3(_Session):
    greeting, bye, challenge = b"+OK upstream\r\n", b"+OK bye\r\n", b"+ \r\n"

    def answer(self, command: bytes, line: bytes, lines: object, connection: socket.socket) -> None:
        mails = self.upstream.mails
        if command == b"CAPA":
            connection.sendall(b"+OK\r\nUSER\r\nUIDL\r\nSASL XOAUTH2 PLAIN\r\n.\r\n")
        elif command == b"STAT":
            connection.sendall(b"+OK %d %d\r\n" % (len(mails), sum(map(len, mails))))
        elif command == b"RETR":
            connection.sendall(b"+OK\r\n" + mails[int(line.split()[1]) - 1] + b".\r\n")
        else:
            connection.sendall(b"+OK\r\n")


class _Tokens(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(TOKEN)))
        self.end_headers()
        self.wfile.write(TOKEN)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 128


@contextmanager
def running_upstream(certificate: Path) -> Iterator[Upstream]:
    """Run the servers; `certificate` is a file with a certificate for ``localhost`` and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    upstream = Upstream()
    servers: list[_Server] = []
    for name, base, tls in (
        ("plain", _Smtp, None),
        ("smtps", _Smtp, context),
        ("pop3s", _Pop3, context),
        ("tokens", _Tokens, None),
    ):
        handler = type(name, (base,), {"upstream": upstream, "context": tls})
        server = _Server(("127.0.0.1", 0), handler)
        setattr(upstream, name, server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    try:
        yield upstream
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()

"""The servers for status requests: ``status_servers.py pop3|smtp PORT FIGURES CERTIFICATE [REQUESTS]``, each a process.

The POP3 server has the requests, over TLS, and the SMTP server takes the answers. On the port `FIGURES` each tells what
it has counted, as a line of JSON.
"""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import sys
import threading
import time
from dataclasses import asdict, dataclass, field

SENDERS = 100
USER, PASSWORD = "device@example.com", "secret"


@dataclass
class Figures:
    """What a server has counted.

    Attributes:
        connections: how many there were.
        messages: how many mails were deleted, or answers accepted.
        first: when the first connection came, by the clock that all processes of a machine share.
        last: when the last message went, or came.
        recipients: the answers, by recipient.
    """

    connections: int = 0
    messages: int = 0
    first: float = 0.0
    last: float = 0.0
    recipients: dict[str, int] = field(default_factory=dict)
    lock = threading.Lock()

    def connected(self) -> None:
        with self.lock:
            self.connections += 1
            self.first = self.first or time.monotonic()

    def passed(self, messages: int = 1) -> None:
        with self.lock:
            self.messages += messages
            self.last = time.monotonic()


FIGURES = Figures()


def request(number: int) -> bytes:
    """Return a status request, as a mail server delivers it."""
    sender = f"user{number % SENDERS}@office.example"
    return (
        f"Return-Path: <{sender}>\r\nReceived: from a.example by b.example; Tue, 24 Nov 2026 10:00:00 +0000\r\n"
        f"From: User <{sender}>\r\nTo: <{USER}>\r\nSubject: status\r\nMessage-ID: <{number}@office.example>\r\n"
        "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nThank you.\r\n"
    ).encode()


class Pop3(socketserver.StreamRequestHandler):
    """A session; what it deletes is gone once it has ended with QUIT (RFC 1939 section 6)."""

    waiting: dict[int, bytes] = {}  # noqa: RUF012 - all sessions have the same
    context: ssl.SSLContext

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        FIGURES.connected()
        mails, deleted = dict(enumerate(self.waiting.items(), 1)), list[int]()
        self.reply(b"+OK ready")
        for line in self.rfile:
            verb, _, argument = line.decode().strip().partition(" ")
            number = int(argument.split()[0]) if argument[:1].isdigit() else 0
            match verb.upper():
                case "CAPA":
                    self.reply(b"+OK", b"USER", b"UIDL", b"TOP", b"PIPELINING", b".")
                case "STAT":
                    self.reply(b"+OK %d %d" % (len(mails), sum(len(mail) for _, mail in mails.values())))
                case "LIST":
                    self.reply(b"+OK", *(b"%d %d" % (each, len(mail)) for each, (_, mail) in mails.items()), b".")
                case "UIDL":
                    self.reply(b"+OK", *(b"%d uid-%d" % (each, key) for each, (key, _) in mails.items()), b".")
                case "RETR" | "TOP":
                    self.reply(b"+OK", mails[number][1] + b".")
                case "DELE":
                    deleted.append(mails[number][0])
                    self.reply(b"+OK")
                case "QUIT":
                    for key in deleted:
                        del self.waiting[key]
                    FIGURES.passed(len(deleted))
                    self.reply(b"+OK")
                    return
                case _:
                    self.reply(b"+OK")

    def reply(self, *lines: bytes) -> None:
        self.wfile.write(b"".join(line + b"\r\n" for line in lines))


class Smtp(socketserver.StreamRequestHandler):
    """A session that accepts everything."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        FIGURES.connected()
        self.wfile.write(b"220 sink\r\n")
        recipient = ""
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.wfile.write(
                    b"250-sink\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
                )
            elif verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() != b".\r\n":
                    pass
                FIGURES.recipients[recipient] = FIGURES.recipients.get(recipient, 0) + 1
                FIGURES.passed()
                self.wfile.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 2.0.0 bye\r\n")
                return
            else:
                if verb == b"RCPT":
                    recipient = line.decode().partition("<")[2].partition(">")[0]
                self.wfile.write(b"250 2.0.0 ok\r\n")


class Tell(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with FIGURES.lock:
            self.wfile.write(json.dumps(asdict(FIGURES)).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing of clients that have gone, such as one that only looked whether this runs."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    role, port, figures, certificate, *requests = sys.argv[1:]
    if role == "pop3":
        Pop3.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        Pop3.context.load_cert_chain(certificate)
        Pop3.waiting.update((number, request(number)) for number in range(int(requests[0])))
    server = Server(("127.0.0.1", int(port)), Pop3 if role == "pop3" else Smtp)
    tell = Server(("127.0.0.1", int(figures)), Tell)
    threading.Thread(target=tell.serve_forever, daemon=True).start()
    server.serve_forever()

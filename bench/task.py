"""What one measured client is asked to do, handed to its process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

SENDER = "daemon@example.test"
HOST = "127.0.0.1"


@dataclass
class Task:
    """Messages to submit or to fetch.

    Attributes:
        kind: ``submit``, ``fetch`` or ``poll``.
        port: the server's, on `HOST`.
        security: ``none``, ``starttls`` or ``tls``.
        recipient: of all messages.
        ca: the file with the authority that the server's certificate comes from.
        user: who signs in; empty for nobody.
        password: the user's.
        source: ``octets`` for ready-made ones, ``structured`` for the library's own message, ``file`` for one
            attachment that is read, encoded and sent.
        count: messages to submit.
        size: octets of each.
        per_session: messages in one session.
        parallel: sessions at once.
        path: the attachment.
        folder: where fetched messages go, a file each.
        way: of several that a client has.
        backend: ``asyncio`` or ``trio``.
    """

    kind: str
    port: int = 0
    security: str = "none"
    recipient: str = "someone@example.org"
    ca: str = ""
    user: str = ""
    password: str = ""
    source: str = "octets"
    count: int = 1
    size: int = 2048
    per_session: int = 1
    parallel: int = 1
    path: str = ""
    folder: str = ""
    way: str = ""
    backend: str = "asyncio"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def sessions(self) -> list[range]:
        """The messages of each session."""
        return [range(start, start + self.per_session) for start in range(0, self.count, self.per_session)]

    def octets(self) -> bytes:
        return message(self.size)


def message(size: int) -> bytes:
    head = f"From: {SENDER}\r\nSubject: a scan\r\nMessage-ID: <1@example.test>\r\n\r\n".encode()
    line = b"What a device has to say, line by line, and every line as long as others.\r\n"
    return (head + line * (size // len(line) + 1))[: size - 2] + b"\r\n"

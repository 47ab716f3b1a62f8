"""The task of one measured client, and the process that performs it: ``task.py PEER JSON`` prints the results.

Measured are the time from the first connection to the end of the last session, without starting Python, imports and the
preparation of messages, and the peak memory of the process.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

SENDER = "daemon@example.test"
HOST = "127.0.0.1"


@dataclass
class Task:
    """Messages to submit or to fetch.

    Attributes:
        kind: ``submit``, ``fetch`` or ``poll``: the name of the peer's function.
        port: the server's, on `HOST`.
        security: ``none``, ``starttls`` or ``tls``.
        ca: the file with the certificate authority of the server.
        user: the user name; empty for no authentication.
        password: the user's.
        recipient: of all messages.
        source: ``octets`` for ready-made ones, ``structured`` for messages made of their parts, each anew, by the
            client's own library, ``file`` for one with an attachment that is read, encoded and sent.
        count: messages to submit.
        size: octets of each, or of the file.
        per_session: messages in one session.
        parallel: sessions at once.
        path: the file.
        folder: where fetched messages go, a file each.
        mode: which of several APIs or configurations of a client is used.
        backend: ``asyncio`` or ``trio``.
    """

    kind: str
    security: str = "tls"
    source: str = "octets"
    count: int = 1
    size: int = 2048
    per_session: int = 0
    parallel: int = 1
    mode: str = ""
    backend: str = "asyncio"
    port: int = 0
    ca: str = ""
    user: str = ""
    password: str = ""
    recipient: str = "someone@example.org"
    path: str = ""
    folder: str = ""

    @property
    def sessions(self) -> list[range]:
        """The messages of each session; by default one session has all."""
        step = self.per_session or self.count
        return [range(start, min(start + step, self.count)) for start in range(0, self.count, step)]


def message(size: int) -> bytes:
    """Return a message of `size` octets."""
    header = f"From: {SENDER}\r\nSubject: a scan\r\n\r\n".encode()
    line = b"What a device has to say, line by line, and every line as long as others.\r\n"
    return (header + line * (size // len(line) + 1))[: size - 2] + b"\r\n"


if __name__ == "__main__":
    peer, task = importlib.import_module(f"bench.peers.{sys.argv[1]}"), Task(**json.loads(sys.argv[2]))
    result = getattr(peer, task.kind)(task)
    # Of this process alone: getrusage would include the peak of its parent before exec.
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(json.dumps({"memory": int(peak) * 1024 / 1e6} | result))

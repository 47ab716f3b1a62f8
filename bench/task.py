"""What one measured client is asked to do, and the process that does it: ``task.py PEER JSON`` prints what it took.

What counts is the time around the work itself, from the connection to the end of the last session, not that of starting
Python, of imports or of making ready-made messages; and the most memory that the process ever had.
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
        ca: the file with the authority that the server's certificate comes from.
        user: who signs in; empty for nobody.
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
        way: of several that a client has.
        backend: ``asyncio`` or ``trio``.
    """

    kind: str
    security: str = "tls"
    source: str = "octets"
    count: int = 1
    size: int = 2048
    per_session: int = 0
    parallel: int = 1
    way: str = ""
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
        """The messages of each session; where nothing is said, one session takes all."""
        step = self.per_session or self.count
        return [range(start, min(start + step, self.count)) for start in range(0, self.count, step)]


def message(size: int) -> bytes:
    """A message of so many octets."""
    header = f"From: {SENDER}\r\nSubject: a scan\r\n\r\n".encode()
    line = b"What a device has to say, line by line, and every line as long as others.\r\n"
    return (header + line * (size // len(line) + 1))[: size - 2] + b"\r\n"


if __name__ == "__main__":
    peer, task = importlib.import_module(f"bench.peers.{sys.argv[1]}"), Task(**json.loads(sys.argv[2]))
    result = getattr(peer, task.kind)(task)
    # Of this process alone; getrusage would begin with its parent's.
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(json.dumps({"memory": int(peak) * 1024 / 1e6} | result))

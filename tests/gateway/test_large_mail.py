"""A large mail is served in pieces, in constant memory."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import anyio
import pytest

from gateway.fetch_crash import RECORD, Backend
from mailslot import Security
from mailslot.net.listener import open_listener
from mailslot.pop3.server.server import Pop3Server
from mailslot.pop3.server.session import SessionSettings
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

LINES = b"Subject: large\r\n\r\n" + b".0123456789abcdef\r\n" * 3_640
COUNT = 760
"""How often the lines are repeated: 50 MB in all."""


async def test_fifty_megabytes(tmp_path: Path) -> None:
    async with Spool(tmp_path / "home") as spool:
        async with spool.ledger.receive(RECORD, "1") as file:
            for _ in range(COUNT):
                await file.write(LINES)
        listener = await open_listener("fetch", "127.0.0.1", 0)
        server = Pop3Server(listener, SessionSettings("localhost", Security.NONE), Backend(spool))
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve)
            async with await anyio.connect_tcp("127.0.0.1", listener.port) as client:
                await client.send(b"USER fax\r\nPASS x\r\nNOOP\r\n")
                received = b""
                while received.count(b"\r\n") < 4:
                    received += await client.receive()
                tracemalloc.start()
                try:
                    await client.send(b"RETR 1\r\n")
                    octets, tail = 0, b""
                    while not tail.endswith(b"\r\n.\r\n"):
                        piece = await client.receive()
                        octets += len(piece)
                        tail = (tail + piece)[-5:]
                    peak = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
            group.cancel_scope.cancel()
    stuffed = COUNT * (len(LINES) + LINES.count(b"\n."))
    assert octets == len(b"+OK The message follows\r\n") + stuffed + len(b".\r\n")
    assert stuffed > 50_000_000
    # A few pieces of 64 KiB, on their way from the file through the core and into the socket, and the client's own.
    assert peak < 2_000_000

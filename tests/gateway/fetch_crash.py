"""A process that is killed at every step of a POP3 session; then the ledger is checked.

Run by `test_fetch_crash` as a process of its own, since it forks: ``python fetch_crash.py FOLDER BACKEND``.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from child_process import fork_child, kill_at, wait_for_exit
from mailslot import Security
from mailslot.net.listener import open_listener
from mailslot.net.socket_stream import SocketStream
from mailslot.pop3.server.protocol import Pop3ServerProtocol
from mailslot.pop3.server.server import Pop3Server
from mailslot.pop3.server.session import SessionSettings
from mailslot.spool.folder.mails import SqliteMails
from mailslot.spool.folder.storage import SqliteRepositories
from mailslot.spool.ledger import Ledger
from mailslot.spool.spool import Spool
from mailslot_plugins.gateway.maildrop import LedgerMaildrop, Maildrops

if TYPE_CHECKING:
    from mailslot.net.server_connection import ServerConnection
    from mailslot.spool.incoming import Incoming
    from mailslot.wire.secret import Secret

BACKEND = sys.argv[2] if len(sys.argv) > 2 else "asyncio"
RECORD = "account.box"
MAILS = [b"Subject: mail %d\r\n\r\nline\r\n" % number for number in range(3)]
STEPS: list[tuple[object, str]] = [
    (Pop3ServerProtocol, "receive"),
    (Pop3ServerProtocol, "reply"),
    (SocketStream, "send"),
    (LedgerMaildrop, "open"),
    (LedgerMaildrop, "delete"),
    (LedgerMaildrop, "release"),
    (Ledger, "mark_all_done"),
    (SqliteMails, "update"),
    (SqliteMails, "clear_file"),
    (SqliteRepositories, "remove_file"),
    (Path, "unlink"),
    (os, "unlink"),
]


class Backend:
    def __init__(self, spool: Spool) -> None:
        self.maildrops = Maildrops(spool.ledger)
        self.ended = anyio.Event()

    def connected(self, connection: ServerConnection) -> Backend:
        return self

    async def offers_apop(self) -> bool:
        return False

    async def authenticate(self, user: str, password: Secret) -> LedgerMaildrop:
        opened = await self.maildrops.open(RECORD, user)
        assert opened is not None
        return opened

    async def authenticate_apop(self, user: str, timestamp: str, digest: str) -> LedgerMaildrop:
        raise NotImplementedError

    async def check(self) -> None:
        return None

    async def closed(self) -> None:
        self.ended.set()


async def put(home: Path) -> None:
    async with Spool(home) as spool:
        for number, mail in enumerate(MAILS):
            async with spool.ledger.receive(RECORD, str(number), len(mail)) as file:
                await file.write(mail)


async def serve(home: Path, ports: int, step: int) -> None:
    """Serve one session, and tell the port; die at a step."""
    async with Spool(home) as spool:
        listener = await open_listener("fetch", "127.0.0.1", 0)
        backend = Backend(spool)
        server = Pop3Server(listener, SessionSettings("localhost", Security.NONE), backend)
        os.write(ports, b"%d\n" % listener.port)
        kill_at(step, STEPS)
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve)
            await backend.ended.wait()
            server.stop()


def talk(port: int) -> list[bytes]:
    """Lead a session; return the status lines."""
    found: list[bytes] = []
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=120) as client, client.makefile("rb") as lines:
            found.append(lines.readline())
            for command in (b"USER fax", b"PASS x", b"RETR 1", b"DELE 1", b"DELE 2", b"QUIT"):
                client.sendall(command + b"\r\n")
                found.append(lines.readline())
                while command == b"RETR 1" and found[-1] and lines.readline() not in {b".\r\n", b""}:
                    pass
            lines.read()
    except OSError:
        pass
    return [line for line in found if line]


async def read(home: Path) -> list[Incoming]:
    async with Spool(home) as spool, spool.delivery_lock(timeout=300):
        # As the service does when it starts: files go whose removal was cut off.
        await spool.recover()
        return (await spool.ledger.mails(RECORD))[::-1]


def check(home: Path, told: list[bytes]) -> str:
    """Check that what was told is true, and that nothing is lost; return what became of the mails."""
    mails = anyio.run(read, home, backend=BACKEND)
    states = [mail.state for mail in mails]
    # Both or none.
    assert states in (["fetched"] * 3, ["done", "done", "fetched"]), states
    for mail, octets in zip(mails, MAILS, strict=True):
        if mail.state == "done":
            assert mail.path is None
        else:
            assert mail.path is not None
            assert mail.path.read_bytes() == octets
    left = {path.name for path in home.rglob("*.mail")}
    assert left == {mail.path.name for mail in mails if mail.path is not None}, left
    if told and told[-1] == b"+OK Goodbye\r\n":
        assert states[0] == "done"
    if len(told) < 6:
        # The last DELE was not answered, so QUIT was never sent.
        assert states == ["fetched"] * 3
    return states[0]


def killed_at_every_step(folder: Path) -> None:
    outcomes: list[tuple[int, str]] = []
    step, exit_code = 0, -9
    while exit_code != 0:
        home = folder / str(step)
        anyio.run(put, home, backend=BACKEND)
        reading, writing = os.pipe()
        child = fork_child(partial(anyio.run, serve, home, writing, step, backend=BACKEND))
        os.close(writing)
        with os.fdopen(reading) as ports:
            port = int(ports.readline())
        told = talk(port)
        exit_code = wait_for_exit(child)
        assert exit_code in {0, -9}, exit_code
        outcomes.append((len(told), check(home, told)))
        step += 1
    print(outcomes)
    states = [state for _, state in outcomes]
    assert states[0] == "fetched"
    assert states[-1] == "done"
    # It was killed between the deletion and the response, too.
    assert any(state == "done" and count < 7 for count, state in outcomes)
    assert states == sorted(states, reverse=True)


if __name__ == "__main__":
    killed_at_every_step(Path(sys.argv[1]))

"""A backend in memory, and servers on it."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from mailslot import Security
from mailslot.net.listener import ConnectionLimits, open_listener
from mailslot.pop3.server import replies
from mailslot.pop3.server.maildrop import Message
from mailslot.pop3.server.server import Pop3Server
from mailslot.pop3.server.session import SessionSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

    from mailslot.net.server_connection import ServerConnection
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret

PIECE = 32_768


@dataclass
class Memory:
    """What the handlers of all connections know.

    Attributes:
        passwords: by user.
        apop: whether APOP is offered.
        mails: the one maildrop, by ids.
        in_use: whether it is open.
        open_error: raised when a message is opened; `read_error` within it; `delete_error` at QUIT.
        fault: raised at a sign-in.
        revoked: why whoever has signed in must sign in again.
        connections: those that have ended.
        active: the others.
        retrieved: ids of messages that were read whole.
    """

    passwords: dict[str, str] = field(default_factory=lambda: {"fax": "open sesame"})
    apop: bool = False
    mails: dict[int, bytes] = field(default_factory=dict)
    in_use: bool = False
    open_error: OSError | None = None
    read_error: OSError | None = None
    delete_error: OSError | None = None
    fault: Exception | None = None
    revoked: Reply | None = None
    connections: list[ServerConnection] = field(default_factory=list)
    active: list[ServerConnection] = field(default_factory=list)
    retrieved: list[int] = field(default_factory=list)
    ended: anyio.Event = field(default_factory=anyio.Event)

    def connected(self, connection: ServerConnection) -> MemoryHandler:
        self.active.append(connection)
        return MemoryHandler(self, connection)

    async def until_ended(self, count: int = 1) -> None:
        with anyio.fail_after(100_000):
            while len(self.connections) < count:
                self.ended = anyio.Event()
                await self.ended.wait()


class MemoryHandler:
    def __init__(self, memory: Memory, connection: ServerConnection) -> None:
        self.memory = memory
        self.connection = connection

    async def offers_apop(self) -> bool:
        return self.memory.apop

    async def authenticate(self, user: str, password: Secret) -> MemoryMaildrop | Reply:
        if self.memory.fault is not None:
            raise self.memory.fault
        return self.open(self.memory.passwords.get(user) == password.reveal())

    async def authenticate_apop(self, user: str, timestamp: str, digest: str) -> MemoryMaildrop | Reply:
        password = self.memory.passwords.get(user, "")
        right = hashlib.md5(f"{timestamp}{password}".encode(), usedforsecurity=False).hexdigest()
        return self.open(digest == right)

    def open(self, right: bool) -> MemoryMaildrop | Reply:
        if not right:
            return replies.AUTHENTICATION_FAILED
        if self.memory.in_use:
            return replies.IN_USE
        self.memory.in_use = True
        return MemoryMaildrop(self.memory)

    async def check(self) -> Reply | None:
        return self.memory.revoked

    async def closed(self) -> None:
        self.memory.active.remove(self.connection)
        self.memory.connections.append(self.connection)
        self.memory.ended.set()


class MemoryMaildrop:
    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.messages = [Message(number, f"u{number}", len(mail)) for number, mail in memory.mails.items()]

    @asynccontextmanager
    async def open(self, message: Message) -> AsyncIterator[MemoryReader]:
        if self.memory.open_error is not None:
            raise self.memory.open_error
        yield MemoryReader(self.memory, self.memory.mails[message.id])

    def note_retrieved(self, message: Message) -> None:
        self.memory.retrieved.append(message.id)

    async def delete(self, messages: Sequence[Message]) -> None:
        await anyio.lowlevel.checkpoint()
        if self.memory.delete_error is not None:
            raise self.memory.delete_error
        for message in messages:
            del self.memory.mails[message.id]

    def release(self) -> None:
        assert self.memory.in_use
        self.memory.in_use = False


class MemoryReader:
    def __init__(self, memory: Memory, mail: bytes) -> None:
        self.memory = memory
        self.mail = mail
        self.at = 0

    async def read(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self.at and self.memory.read_error is not None:
            raise self.memory.read_error
        self.at += PIECE
        return self.mail[self.at - PIECE : self.at]


@asynccontextmanager
async def serving(
    memory: Memory,
    security: Security = Security.NONE,
    context: ssl.SSLContext | None = None,
    limits: ConnectionLimits | None = None,
    **settings: Any,
) -> AsyncIterator[Pop3Server]:
    """Serve on loopback until the end of the context."""
    listener = await open_listener("fetch", "127.0.0.1", 0, limits)
    contexts = None if context is None else lambda: context
    server = Pop3Server(listener, SessionSettings("gate.example", security, contexts, **settings), memory)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        yield server
        group.cancel_scope.cancel()
    assert not memory.in_use
    assert memory.active == []
    assert listener.connections == 0

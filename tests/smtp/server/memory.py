"""A backend in memory, and servers on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from mailslot import Security
from mailslot.net.listener import ConnectionLimits, open_listener
from mailslot.smtp.server import replies
from mailslot.smtp.server.server import SmtpServer
from mailslot.smtp.server.session import SessionSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from mailslot.smtp.server.backend import Connection, MailParameters
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret


@dataclass
class Stored:
    """A message that was accepted."""

    sender: str
    recipients: list[str]
    content: bytes
    connection: Connection


@dataclass
class Memory:
    """What the handlers of all connections know, and what they have taken.

    Attributes:
        passwords: by user; empty if nobody can sign in.
        sign_in_demanded: whether MAIL needs a user.
        greeting: the refusal of every client.
        refused: the refusal of an address, as sender or recipient.
        stored: the messages.
        discarded: how many were discarded.
        open_writers: how many have begun and not ended.
        connections: those that have ended.
        write_error: raised by each `write`; `commit_error` by `commit`.
        commit_refusal: what `commit` returns instead of an id.
        authentication: the refusal of every sign-in.
        may_mail: what `mail` waits for, if there is one.
        committing: set when a `commit` has begun; it then waits for `may_commit`, if there is one.
    """

    passwords: dict[str, str] = field(default_factory=dict)
    sign_in_demanded: bool = False
    max_size: int = 100_000_000
    greeting: Reply | None = None
    refused: dict[str, Reply] = field(default_factory=dict)
    authentication: Reply | None = None
    may_mail: anyio.Event | None = None
    begin_refusal: Reply | None = None
    commit_refusal: Reply | None = None
    write_error: OSError | None = None
    commit_error: OSError | None = None
    fault: Exception | None = None
    stored: list[Stored] = field(default_factory=list)
    discarded: int = 0
    open_writers: int = 0
    connections: list[Connection] = field(default_factory=list)
    active: list[Connection] = field(default_factory=list)
    may_commit: anyio.Event | None = None
    committing: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    keep: bool = True

    def connected(self, connection: Connection) -> MemoryHandler:
        self.active.append(connection)
        return MemoryHandler(self, connection)


class MemoryHandler:
    def __init__(self, memory: Memory, connection: Connection) -> None:
        self.memory = memory
        self.connection = connection
        self.sender = ""
        self.recipients: list[str] = []

    @property
    def max_size(self) -> int:
        return self.memory.max_size

    @property
    def offers_authentication(self) -> bool:
        return bool(self.memory.passwords)

    async def accept(self) -> Reply | None:
        return self.memory.greeting

    async def authenticate(self, user: str, password: Secret) -> Reply | None:
        if self.memory.authentication is not None:
            return self.memory.authentication
        if self.memory.passwords.get(user) == password.reveal():
            return None
        return replies.AUTHENTICATION_FAILED

    async def mail(self, sender: str, parameters: MailParameters) -> Reply | None:
        if self.memory.fault is not None:
            raise self.memory.fault
        if self.memory.may_mail is not None:
            await self.memory.may_mail.wait()
        if self.memory.sign_in_demanded and self.connection.user is None:
            return replies.AUTHENTICATION_REQUIRED
        self.sender, self.recipients = sender, []
        return self.memory.refused.get(sender)

    async def recipient(self, recipient: str) -> Reply | None:
        refusal = self.memory.refused.get(recipient)
        if refusal is None:
            self.recipients.append(recipient)
        return refusal

    async def begin(self) -> MemoryWriter | Reply:
        return self.memory.begin_refusal or MemoryWriter(self)

    async def closed(self) -> None:
        self.memory.active.remove(self.connection)
        self.memory.connections.append(self.connection)
        self.memory.ended.set()


class MemoryWriter:
    def __init__(self, handler: MemoryHandler) -> None:
        self.handler = handler
        self.memory = handler.memory
        self.memory.open_writers += 1
        self.pieces: list[bytes] = []
        self.longest = 0

    async def write(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if self.memory.write_error is not None:
            raise self.memory.write_error
        if self.memory.keep:
            self.pieces.append(data)

    async def commit(self) -> str | Reply:
        self.memory.open_writers -= 1
        self.memory.committing.set()
        if self.memory.may_commit is not None:
            await self.memory.may_commit.wait()
        if self.memory.commit_error is not None:
            raise self.memory.commit_error
        if self.memory.commit_refusal is not None:
            return self.memory.commit_refusal
        handler = self.handler
        self.memory.stored.append(Stored(handler.sender, handler.recipients, b"".join(self.pieces), handler.connection))
        return f"J{len(self.memory.stored)}"

    async def discard(self) -> None:
        self.memory.open_writers -= 1
        self.memory.discarded += 1


@asynccontextmanager
async def serving(
    memory: Memory,
    security: Security = Security.NONE,
    context: ssl.SSLContext | None = None,
    limits: ConnectionLimits | None = None,
    **settings: Any,
) -> AsyncIterator[SmtpServer]:
    """Serve on loopback until the end of the context."""
    listener = await open_listener("scan", "127.0.0.1", 0, limits)
    contexts = None if context is None else lambda: context
    server = SmtpServer(listener, SessionSettings("gate.example", security, contexts, **settings), memory)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        yield server
        group.cancel_scope.cancel()
    assert memory.open_writers == 0
    assert memory.active == []
    assert listener.connections == 0

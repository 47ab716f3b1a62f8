"""Sessions over loopback: with our own client, and octet by octet."""

from __future__ import annotations

import errno
import hashlib
import re
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import anyio.streams.tls
import pytest

from mailslot import Endpoint, MailError, Password, Security, connect_pop3
from mailslot.net.listener import ConnectionLimits
from mailslot.pop3.server import replies

from .memory import Memory, serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from anyio.abc import ByteStream

    from mailslot.pop3.server.server import Pop3Server

pytestmark = pytest.mark.virtual_time

MAILS = {
    3: b"Subject: one\r\n\r\n.dot\r\n..\r\nlast\r\n",
    5: b"Subject: two\r\n\r\n" + b"line\r\n.\r\n" * 40_000,
    8: b"Subject: three\r\n\r\nx\r\n",
}


class Client:
    """A client that sends octets, and reads responses."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.received = b""

    async def line(self) -> str:
        """Return the next line; empty at the end of the connection."""
        while b"\r\n" not in self.received:
            try:
                self.received += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return self.received.decode()
        line, _, self.received = self.received.partition(b"\r\n")
        return line.decode()

    async def ask(self, octets: bytes) -> str:
        await self.stream.send(octets)
        return await self.line()

    async def lines(self) -> list[str]:
        """Return what follows a status line."""
        found = []
        while (line := await self.line()) != ".":
            assert line or self.received
            found.append(line)
        return found

    async def sign_in(self, password: bytes = b"open sesame") -> str:
        assert await self.ask(b"USER fax\r\n") == "+OK Send the password"
        return await self.ask(b"PASS " + password + b"\r\n")


@asynccontextmanager
async def connected(server: Pop3Server, *, greeted: bool = True) -> AsyncIterator[Client]:
    async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        client = Client(stream)
        if greeted:
            assert await client.line() == "+OK POP3 server ready"
        yield client


def endpoint(server: Pop3Server, security: Security = Security.NONE) -> Endpoint:
    return Endpoint("localhost", server.listener.port, security)


# Our own client.


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_our_client(security: Security, server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    memory = Memory(mails=dict(MAILS))
    async with serving(memory, security, server_context) as server:
        async with connect_pop3(
            endpoint(server, security), Password("fax", "open sesame"), ssl_context=client_context
        ) as pop:
            entries = await pop.listing()
            assert [(entry.uid, entry.size) for entry in entries] == [
                (f"u{number}", len(mail)) for number, mail in MAILS.items()
            ]
            found = [b"".join([piece async for piece in pop.retrieve(entry)]) for entry in entries]
            assert found == list(MAILS.values())
            head = b"".join([piece async for piece in pop.top(entries[1], 2)])
            assert head == b"Subject: two\r\n\r\nline\r\n.\r\n"
            await pop.delete(entries[0], entries[2])
            assert memory.mails == MAILS
        assert list(memory.mails) == [5]
        await memory.until_ended()
    (connection,) = memory.connections
    assert (connection.ending, connection.user) == ("quit", "fax")
    assert memory.retrieved == [3, 5, 8]
    assert connection.peer.tls is not None
    assert "sesame" not in str(connection.transcript)


async def test_without_quit_nothing_is_deleted() -> None:
    memory = Memory(mails=dict(MAILS))
    async with serving(memory) as server:
        async with connected(server) as client:
            assert await client.sign_in() == "+OK 3 messages"
            assert await client.ask(b"DELE 1\r\nDELE 2\r\n") == "+OK Message 1 is marked"
            assert await client.line() == "+OK Message 2 is marked"
            assert memory.in_use
        await memory.until_ended()
        assert not memory.in_use
        assert memory.mails == MAILS
        async with connected(server) as client:
            assert await client.sign_in() == "+OK 3 messages"
    assert memory.connections[0].ending == "closed"


async def test_one_session_a_maildrop() -> None:
    memory = Memory(mails=dict(MAILS))
    async with serving(memory) as server, connected(server) as first, connected(server) as second:
        assert await first.sign_in() == "+OK 3 messages"
        for _ in range(5):
            began = anyio.current_time()
            assert await second.sign_in() == "-ERR [IN-USE] The mailbox is in use by another session"
            # It is no failed sign-in.
            assert anyio.current_time() - began < 0.5
        assert await first.ask(b"QUIT\r\n") == "+OK Goodbye"
        await memory.until_ended()
        assert await second.sign_in() == "+OK 3 messages"


# Sign-in.


async def test_failed_sign_ins() -> None:
    memory = Memory()
    async with serving(memory) as server, connected(server) as client:
        began = anyio.current_time()
        waits = []
        for _ in range(3):
            assert await client.sign_in(b"wrong") == "-ERR [AUTH] User name or password is wrong"
            waits.append(anyio.current_time() - began)
        assert waits == pytest.approx([1, 3, 7], abs=0.5)
        # Even the right one comes too late on this connection.
        assert await client.sign_in() == "-ERR [AUTH] Too many failed sign-ins"
        assert await client.line() == ""
        await memory.until_ended()
    (connection,) = memory.connections
    assert (connection.ending, connection.user, connection.tried_user) == ("limit", None, "fax")
    assert connection.refusal is not None
    assert connection.refusal.enhanced == "AUTH"


async def test_a_sign_in_that_holds_no_more() -> None:
    memory = Memory(mails=dict(MAILS))
    async with serving(memory) as server, connected(server) as client:
        await client.sign_in()
        assert await client.ask(b"DELE 1\r\n") == "+OK Message 1 is marked"
        memory.revoked = replies.PASSWORD_CHANGED
        due = "-ERR [AUTH] The password has changed; connect and sign in again"
        assert await client.ask(b"QUIT\r\n") == due
        assert await client.line() == ""
        await memory.until_ended()
        assert not memory.in_use
    assert memory.mails == MAILS
    assert memory.connections[0].ending == "revoked"


async def test_apop() -> None:
    memory = Memory(apop=True, mails=dict(MAILS))
    async with serving(memory) as server:
        seen = set()
        for password, due in (("wrong", "-ERR [AUTH]"), ("open sesame", "+OK 3 messages")):
            async with connected(server, greeted=False) as client:
                match = re.fullmatch(r"\+OK POP3 server ready (<[0-9a-f]{16}\.\d+@gate\.example>)", await client.line())
                assert match is not None
                seen.add(match[1])
                digest = hashlib.md5(f"{match[1]}{password}".encode(), usedforsecurity=False).hexdigest()
                assert (await client.ask(f"APOP fax {digest}\r\n".encode())).startswith(due)
        assert len(seen) == 2


async def test_an_error_of_the_backend(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(fault=RuntimeError("broken"))
    async with serving(memory) as server, connected(server) as client:
        assert await client.sign_in() == "-ERR [SYS/TEMP] An error on this side; try again later"
        assert await client.line() == ""
        await memory.until_ended()
    assert memory.connections[0].ending == "error"
    assert "The backend of the listener fetch failed" in caplog.text


# TLS.


async def test_octets_behind_stls_end_the_connection(server_context: ssl.SSLContext) -> None:
    memory = Memory()
    async with serving(memory, Security.STARTTLS, server_context) as server:
        async with connected(server) as client:
            assert await client.ask(b"STLS\r\nUSER fax\r\n") == "-ERR Wait for the response before you send on"
            assert await client.line() == ""
        async with connected(server) as client:
            # In a flight of their own, but no handshake: nothing of it is taken for a command.
            assert await client.ask(b"STLS\r\n") == "+OK Ready to start TLS"
            await client.stream.send(b"USER fax\r\n")
            await client.line()
        await memory.until_ended(2)
    assert [connection.ending for connection in memory.connections] == ["protocol", "tls"]


async def test_passwords_in_clear_are_not_taken(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    memory = Memory(mails=dict(MAILS))
    async with serving(memory, Security.STARTTLS, server_context) as server, connected(server) as client:
        assert await client.ask(b"USER fax\r\n") == "-ERR [AUTH] Sign in only after STLS"
        assert await client.ask(b"PASS open sesame\r\n") == "-ERR Send USER first"
        assert memory.active[0].tried_user is None
        await client.ask(b"STLS\r\n")
        wrapped = await anyio.streams.tls.TLSStream.wrap(
            client.stream, hostname="localhost", ssl_context=client_context, standard_compatible=False
        )
        inner = Client(wrapped)
        assert await inner.sign_in() == "+OK 3 messages"
        assert memory.active[0].user == "fax"


# The spool.


async def test_a_message_that_cannot_be_opened() -> None:
    memory = Memory(mails=dict(MAILS), open_error=OSError(errno.EIO, "Input/output error"))
    async with serving(memory) as server, connected(server) as client:
        await client.sign_in()
        assert await client.ask(b"RETR 1\r\n") == "-ERR [SYS/TEMP] This message cannot be read now"
        assert await client.ask(b"NOOP\r\n") == "+OK Done"
    assert "*  the spool cannot be used: Input/output error" in memory.connections[0].transcript.lines
    assert memory.retrieved == []


async def test_a_message_that_breaks_off_never_ends() -> None:
    memory = Memory(mails=dict(MAILS), read_error=OSError(errno.EIO, "Input/output error"))
    async with serving(memory) as server, connected(server) as client:
        await client.sign_in()
        await client.stream.send(b"RETR 2\r\n")
        received = b""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                received += await client.stream.receive()
        assert b"line\r\n" in received
        assert b"\r\n.\r\n" not in received
        await memory.until_ended()
    assert memory.connections[0].ending == "error"
    assert memory.retrieved == []


async def test_messages_that_cannot_be_deleted() -> None:
    memory = Memory(mails=dict(MAILS), delete_error=OSError(errno.ENOSPC, "full"))
    async with serving(memory) as server, connected(server) as client:
        await client.sign_in()
        await client.ask(b"DELE 1\r\n")
        assert await client.ask(b"QUIT\r\n") == "-ERR [SYS/TEMP] The messages could not be deleted"
        assert await client.line() == ""
        await memory.until_ended()
    assert memory.mails == MAILS
    assert memory.connections[0].ending == "quit"


# Limits.


@pytest.mark.parametrize("security", [Security.NONE, Security.TLS])
async def test_connections(security: Security, server_context: ssl.SSLContext) -> None:
    due = "" if security is Security.TLS else "-ERR [SYS/TEMP] Too many connections; try again later"
    async with (
        serving(Memory(), security, server_context, ConnectionLimits(per_address=1)) as server,
        connected(server, greeted=False),
        connected(server, greeted=False) as client,
    ):
        assert await client.line() == due


@pytest.mark.parametrize(("signed_in", "seconds"), [(False, 300), (True, 600)])
async def test_silence_ends_a_session_without_a_word(signed_in: bool, seconds: float) -> None:
    memory = Memory(mails=dict(MAILS))
    async with serving(memory) as server, connected(server) as client:
        if signed_in:
            await client.sign_in()
            await client.ask(b"DELE 1\r\n")
        began = anyio.current_time()
        assert await client.line() == ""
        assert anyio.current_time() - began == pytest.approx(seconds, abs=1)
        await memory.until_ended()
    assert memory.connections[0].ending == "idle"
    assert memory.mails == MAILS


async def test_a_client_that_does_not_read_does_not_keep_the_maildrop() -> None:
    memory = Memory(mails={1: b"line\r\n" * 4_000_000})
    async with serving(memory) as server, connected(server) as client:
        await client.sign_in()
        await client.stream.send(b"RETR 1\r\n")
        await memory.until_ended()
        assert not memory.in_use
    assert memory.connections[0].ending == "idle"
    assert memory.retrieved == []


async def test_a_client_that_reads_all_too_slowly_does_not_keep_it_forever() -> None:
    memory = Memory(mails={1: b"line\r\n" * 4_000_000})
    async with serving(memory) as server, connected(server) as client:
        await client.sign_in()
        await client.stream.send(b"RETR 1\r\n")
        began = anyio.current_time()

        async def sip() -> None:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await client.stream.receive(1_000)
                    await anyio.sleep(30)

        async with anyio.create_task_group() as group:
            group.start_soon(sip)
            await memory.until_ended()
            group.cancel_scope.cancel()
        assert anyio.current_time() - began < 100_000
    assert memory.connections[0].ending == "idle"


async def test_a_flood_of_listings() -> None:
    memory = Memory(mails=dict.fromkeys(range(1000), b"x\r\n"))
    async with serving(memory) as server, connected(server) as client, anyio.create_task_group() as group:
        assert await client.sign_in() == "+OK 1000 messages"
        group.start_soon(client.stream.send, b"LIST\r\n" * 300)
        for _ in range(300):
            assert await client.line() == "+OK 1000 messages"
            assert len(await client.lines()) == 1_000


# Stopping.


async def test_a_server_that_stops() -> None:
    memory = Memory(mails=dict(MAILS))
    async with serving(memory) as server:
        async with connected(server) as idle, connected(server) as at_work, connected(server) as half:
            await at_work.sign_in()
            assert await at_work.ask(b"RETR 1\r\n") == "+OK The message follows"
            await at_work.lines()
            await half.stream.send(b"USER f")
            await anyio.sleep(1)
            server.stop()
            assert await idle.line() == "-ERR [SYS/TEMP] The server is stopping; try again soon"
            # What is under way comes to its end, so that nothing is fetched twice.
            assert await at_work.ask(b"DELE 1\r\n") == "+OK Message 1 is marked"
            assert await at_work.ask(b"QUIT\r\n") == "+OK Goodbye"
            assert await half.ask(b"ax\r\n") == "+OK Send the password"
            assert await half.line() == "-ERR [SYS/TEMP] The server is stopping; try again soon"
        await memory.until_ended(3)
    assert list(memory.mails) == [5, 8]


async def test_cancellation_deletes_nothing() -> None:
    memory = Memory(mails=dict(MAILS))
    async with anyio.create_task_group() as group, serving(memory) as server, connected(server) as client:
        await client.sign_in()
        await client.ask(b"DELE 1\r\n")
        group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint_if_cancelled() if not group.cancel_scope.cancel_called else None
    assert memory.mails == MAILS


async def test_errors_reach_our_client(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    memory = Memory(in_use=True)
    async with serving(memory, Security.TLS, server_context) as server:
        for password, cause in (("open sesame", "mailbox_in_use"), ("wrong", "password_refused")):
            with pytest.raises(MailError) as caught:
                async with connect_pop3(
                    endpoint(server, Security.TLS), Password("fax", password), ssl_context=client_context
                ):
                    pass
            assert caught.value.cause == cause
        await memory.until_ended(2)
        memory.in_use = False

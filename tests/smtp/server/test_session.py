"""Sessions over loopback: with our own client, and octet by octet."""

from __future__ import annotations

import errno
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from mailslot import Endpoint, MailError, Password, Security, connect_smtp
from mailslot.net.listener import ConnectionLimits, open_listener
from mailslot.smtp.server import replies
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.smtp.server.server import SmtpServer
from mailslot.smtp.server.session import SessionSettings
from mailslot.smtp.states import Verb
from mailslot.wire import server_core
from mailslot.wire.server_core import MAX_JUNK_COMMANDS

from .memory import Memory, serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.virtual_time

MANY = MAX_JUNK_COMMANDS - 10
FLOOD = b"EHLO me\r\n" * MANY + b"MAIL FROM:<>\r\nRCPT TO:<to@example.com>\r\nBDAT 1 LAST\r\nx"
"""As many commands as may come before a message, and one."""

ME, YOU = "scanner@example.com", "to@example.com"


class Client:
    """A client that sends octets, and reads replies."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self.received = b""

    async def reply(self) -> str:
        """Return the next reply; empty at the end of the connection."""
        while True:
            lines = self.received.split(b"\r\n")
            for number, line in enumerate(lines[:-1]):
                if line[3:4] != b"-":
                    self.received = b"\r\n".join(lines[number + 1 :])
                    return b"\n".join(lines[: number + 1]).decode()
            try:
                self.received += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return self.received.decode()

    async def ask(self, octets: bytes) -> str:
        await self.stream.send(octets)
        return await self.reply()

    async def to_data(self) -> None:
        for line in (b"EHLO me", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.com>", b"DATA"):
            assert (await self.ask(line + b"\r\n"))[0] in "23"


@asynccontextmanager
async def connected(server: SmtpServer, *, greeted: bool = True) -> AsyncIterator[Client]:
    async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        client = Client(stream)
        if greeted:
            assert await client.reply() == "220 gate.example ESMTP"
        yield client


@asynccontextmanager
async def dripping(client: Client, octets: bytes, seconds: float) -> AsyncIterator[None]:
    """Send the same octets again and again."""

    async def drip() -> None:
        with suppress(anyio.BrokenResourceError):
            while True:
                await client.stream.send(octets)
                await anyio.sleep(seconds)

    async with anyio.create_task_group() as group:
        group.start_soon(drip)
        yield
        group.cancel_scope.cancel()


def endpoint(server: SmtpServer, security: Security = Security.NONE) -> Endpoint:
    return Endpoint("localhost", server.listener.port, security)


async def until_closed(memory: Memory, count: int = 1) -> None:
    with anyio.fail_after(600):
        while len(memory.connections) < count:
            memory.ended = anyio.Event()
            await memory.ended.wait()


# Our own client.


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("security", Security)
async def test_our_client(
    security: Security, chunking: bool, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    memory = Memory(passwords={ME: "open sesame"}, sign_in_demanded=security is not Security.NONE)
    auth = None if security is Security.NONE else Password(ME, "open sesame")
    message = b"Subject: scan\r\n\r\n" + b"..\r\n.\r\n" * 40_000
    async with serving(memory, security, server_context) as server:
        async with connect_smtp(
            endpoint(server, security), auth, ssl_context=client_context, chunking=chunking
        ) as smtp:
            receipt = await smtp.submit(ME, [YOU], message)
            assert str(receipt.reply) == "250 2.0.0 queued as J1"
            await smtp.submit("", [YOU, ME], b"x")
        await until_closed(memory)
    first, second = memory.stored
    assert (first.sender, first.recipients, first.content) == (ME, [YOU], message)
    assert (second.sender, second.recipients, second.content) == ("", [YOU, ME], b"x\r\n")
    connection = memory.connections[0]
    assert connection.ending == "quit"
    assert connection.esmtp
    assert connection.hello == "[127.0.0.1]"
    assert connection.user == (None if auth is None else ME)
    assert (connection.peer.tls is None) is (security is Security.NONE)
    assert connection.peer.address == connection.peer.local_address == "127.0.0.1"
    assert connection.peer.local_port == server.listener.port
    assert "sesame" not in str(connection.transcript)
    assert "S: 250 2.0.0 queued as J1" in connection.transcript.lines


async def test_a_client_that_floods_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    answered: Counter[int] = Counter()
    reply_to_noop = SmtpServerProtocol._noop

    def counted(core: SmtpServerProtocol, argument: str) -> None:
        answered[turns] += 1
        reply_to_noop(core, argument)

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(SmtpServerProtocol, "_HANDLERS", {**SmtpServerProtocol._HANDLERS, Verb.NOOP: counted})
    monkeypatch.setattr(server_core, "MAX_TURN", 10)
    async with serving(Memory()) as server, connected(server) as client, anyio.create_task_group() as group:
        group.start_soon(take_turns)
        await client.stream.send(b"NOOP\r\n" * 5_000)
        while await client.reply() != "421 4.7.0 Too many commands without a message":
            pass
        group.cancel_scope.cancel()
    assert sum(answered.values()) == MAX_JUNK_COMMANDS
    # Trio runs tasks that are ready in any order, so two turns may follow each other.
    assert max(answered.values()) <= 2 * 10


async def test_refusals_reach_our_client() -> None:
    memory = Memory(sign_in_demanded=True, passwords={ME: "x"})
    async with serving(memory) as server:
        for change, due in (
            ({}, replies.AUTHENTICATION_REQUIRED),
            ({"sign_in_demanded": False, "refused": {ME: replies.SENDER_NOT_ALLOWED}}, replies.SENDER_NOT_ALLOWED),
            ({"refused": {YOU: replies.RECIPIENT_NOT_ALLOWED}}, replies.RECIPIENT_NOT_ALLOWED),
            ({"refused": {}, "begin_refusal": replies.SPOOL_FULL}, replies.SPOOL_FULL),
            ({"begin_refusal": None, "commit_refusal": replies.MAIL_LOOP}, replies.MAIL_LOOP),
            ({"commit_refusal": None, "max_size": 500, "write_error": OSError(28, "full")}, replies.SPOOL_FULL),
            ({"write_error": None, "commit_error": OSError(errno.EIO, "broken")}, replies.SPOOL_FULL),
        ):
            for name, value in change.items():
                setattr(memory, name, value)
            with pytest.raises(MailError) as caught:
                async with connect_smtp(endpoint(server)) as smtp:
                    await smtp.submit(ME, [YOU], b"Subject: scan\r\n\r\nx\r\n")
            assert caught.value.reply == due
    assert memory.stored == []
    # Only what could not be written: the rest was refused before or by the writer itself.
    assert memory.discarded == 1


# Sign-in.


async def test_failed_sign_ins() -> None:
    memory = Memory(passwords={"scan": "right"})
    async with serving(memory) as server, connected(server) as client:
        await client.ask(b"EHLO me\r\n")
        began = anyio.current_time()
        waits = []
        # Nobody learns whether the user exists.
        for blob in (b"AHNjYW4Ad3Jvbmc=", b"AG5vYm9keQB3cm9uZw==", b"AHNjYW4Ad3Jvbmc="):
            assert await client.ask(b"AUTH PLAIN " + blob + b"\r\n") == "535 5.7.8 User name or password is wrong"
            waits.append(anyio.current_time() - began)
        assert waits == pytest.approx([1, 3, 7], abs=0.5)
        # Even the right one comes too late on this connection.
        assert await client.ask(b"AUTH PLAIN AHNjYW4AcmlnaHQ=\r\n") == "421 4.7.0 Too many failed sign-ins"
        assert await client.reply() == ""
    (connection,) = memory.connections
    assert (connection.ending, connection.user, connection.tried_user) == ("limit", None, "scan")
    assert "wrong" not in str(connection.transcript).replace("password is wrong", "")


async def test_delays_count_over_connections_until_a_sign_in_succeeds() -> None:
    memory = Memory(passwords={"scan": "right"})
    wrong, right = b"AUTH PLAIN AHNjYW4Ad3Jvbmc=\r\n", b"AUTH PLAIN AHNjYW4AcmlnaHQ=\r\n"
    async with serving(memory) as server:
        for line, wait in ((wrong, 1), (wrong, 2), (wrong, 4), (right, 0), (wrong, 1)):
            async with connected(server) as client:
                await client.ask(b"EHLO me\r\n")
                began = anyio.current_time()
                assert (await client.ask(line))[:3] == ("235" if line is right else "535")
                assert anyio.current_time() - began == pytest.approx(wait, abs=0.5)


async def test_passwords_that_cannot_be_read() -> None:
    memory = Memory(passwords={"scan": "right"}, authentication=replies.AUTHENTICATION_UNAVAILABLE)
    async with serving(memory) as server, connected(server) as client:
        await client.ask(b"EHLO me\r\n")
        began = anyio.current_time()
        # That is nobody's fault, so it neither counts nor takes time.
        for _ in range(5):
            reply = await client.ask(b"AUTH PLAIN AHNjYW4AcmlnaHQ=\r\n")
            assert reply == "454 4.7.0 Sign-in cannot be checked now"
        assert anyio.current_time() - began < 1
        memory.authentication = None
        assert await client.ask(b"AUTH PLAIN AHNjYW4AcmlnaHQ=\r\n") == "235 2.7.0 Signed in"


# TLS.


async def test_octets_behind_starttls_that_come_before_its_reply(server_context: ssl.SSLContext) -> None:
    """In a flight of their own, but while the server is still at work: nobody has asked for them yet."""
    memory = Memory(may_mail=anyio.Event())
    async with serving(memory, Security.STARTTLS, server_context) as server, connected(server) as client:
        await client.ask(b"EHLO me\r\n")
        await client.stream.send(b"MAIL FROM:<>\r\nRSET\r\nSTARTTLS\r\n")
        await anyio.sleep(1)
        await client.stream.send(b"NOOP\r\n")
        await anyio.sleep(1)
        memory.may_mail.set()
        assert await client.reply() == "250 2.1.0 Sender accepted"
        assert await client.reply() == "250 2.0.0 Done"
        assert await client.reply() == "554 5.5.0 Wait for the reply before you send on"
        assert await client.reply() == ""


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_a_client_that_does_not_trust_our_certificate(security: Security, server_context: ssl.SSLContext) -> None:
    memory = Memory()
    async with serving(memory, security, server_context) as server:
        with pytest.raises(MailError) as caught:
            async with connect_smtp(endpoint(server, security)):
                pass
        await until_closed(memory)
    assert caught.value.cause == "certificate_untrusted"
    (connection,) = memory.connections
    assert connection.peer.tls_error == "TLSV1_ALERT_UNKNOWN_CA"
    assert connection.transcript.lines[-1] == "*  TLS failed: TLSV1_ALERT_UNKNOWN_CA"


async def test_octets_behind_starttls_end_the_connection(server_context: ssl.SSLContext) -> None:
    memory = Memory()
    async with serving(memory, Security.STARTTLS, server_context) as server:
        async with connected(server) as client:
            await client.ask(b"EHLO me\r\n")
            assert (
                await client.ask(b"STARTTLS\r\nMAIL FROM:<>\r\n") == "554 5.5.0 Wait for the reply before you send on"
            )
            assert await client.reply() == ""
        async with connected(server) as client:
            await client.ask(b"EHLO me\r\n")
            # In a flight of their own, but no handshake: nothing of it is taken for a command.
            assert await client.ask(b"STARTTLS\r\n") == "220 2.0.0 Ready to start TLS"
            await client.stream.send(b"MAIL FROM:<>\r\n")
            await client.reply()
        await until_closed(memory, 2)
    assert [connection.ending for connection in memory.connections] == ["protocol", "tls"]
    assert memory.connections[1].peer.tls_error
    assert "TLS failed" in memory.connections[1].transcript.lines[-1]


async def test_tls_where_starttls_is_spoken_is_noted(server_context: ssl.SSLContext) -> None:
    memory = Memory()
    async with serving(memory, Security.STARTTLS, server_context) as server, connected(server) as client:
        assert await client.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") == ""
        await until_closed(memory)
    assert memory.connections[0].other_protocol == "TLS"


async def test_what_is_known_before_tls_is_forgotten(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    memory = Memory(passwords={"scan": "right"})
    async with serving(memory, Security.STARTTLS, server_context) as server, connected(server) as client:
        assert "AUTH" not in await client.ask(b"EHLO me\r\n")
        assert await client.ask(b"AUTH PLAIN AHNjYW4AcmlnaHQ=\r\n") == "538 5.7.11 Sign in only after STARTTLS"
        await client.ask(b"STARTTLS\r\n")
        wrapped = await anyio.streams.tls.TLSStream.wrap(
            client.stream, hostname="localhost", ssl_context=client_context, standard_compatible=False
        )
        assert memory.active[0].hello is None or memory.active[0].peer.tls is None
        inner = Client(wrapped)  # type: ignore[arg-type]
        reply = await inner.ask(b"EHLO again\r\n")
        assert "AUTH PLAIN LOGIN" in reply
        assert "STARTTLS" not in reply
        assert await inner.ask(b"AUTH PLAIN AHNjYW4AcmlnaHQ=\r\n") == "235 2.7.0 Signed in"
        assert memory.active[0].hello == "again"


async def test_what_is_no_tls_any_more(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    memory = Memory()
    async with serving(memory, Security.TLS, server_context) as server, connected(server, greeted=False) as client:
        wrapped = await anyio.streams.tls.TLSStream.wrap(
            client.stream, hostname="localhost", ssl_context=client_context, standard_compatible=False
        )
        assert (await wrapped.receive()).startswith(b"220 ")
        await client.stream.send(b"MAIL FROM:<>\r\n")
        await until_closed(memory)
    (connection,) = memory.connections
    assert connection.ending == "closed"
    assert connection.peer.tls_error == "WRONG_VERSION_NUMBER"
    assert connection.transcript.lines[-1] == "*  TLS failed: WRONG_VERSION_NUMBER"


# Limits.


@pytest.mark.parametrize("security", [Security.NONE, Security.TLS])
async def test_connections(security: Security, server_context: ssl.SSLContext) -> None:
    memory = Memory()
    async with serving(memory, security, server_context, ConnectionLimits(per_address=2)) as server:
        async with (
            connected(server, greeted=False),
            connected(server, greeted=False),
            connected(server, greeted=False) as client,
        ):
            assert await client.reply() == ("" if security is Security.TLS else "421 4.7.0 Too many connections")
        if security is Security.NONE:
            await until_closed(memory, 2)
            async with connected(server):
                pass


async def test_connections_in_all() -> None:
    async with (
        serving(Memory(), limits=ConnectionLimits(per_listener=1)) as server,
        connected(server),
        connected(server, greeted=False) as client,
    ):
        assert await client.reply() == "421 4.7.0 Too many connections"


@pytest.mark.parametrize("octets", [b"", b"EHLO me\r\n", b"MAI"])
async def test_silence(octets: bytes) -> None:
    memory = Memory()
    async with serving(memory) as server, connected(server) as client:
        if octets:
            await client.stream.send(octets)
        if octets.endswith(b"\n"):
            await client.reply()
        began = anyio.current_time()
        assert await client.reply() == "421 4.7.0 Nothing was sent for too long"
        assert anyio.current_time() - began == pytest.approx(300, abs=1)
        assert await client.reply() == ""
        await until_closed(memory)
    assert memory.connections[0].ending == "idle"


async def test_a_command_octet_by_octet_does_not_take_forever() -> None:
    async with serving(Memory()) as server, connected(server) as client:
        began = anyio.current_time()
        async with dripping(client, b"x", 10):
            assert await client.reply() == "421 4.7.0 Nothing was sent for too long"
        assert anyio.current_time() - began == pytest.approx(300, abs=1)


async def test_a_message_may_come_slowly() -> None:
    memory = Memory()
    async with serving(memory) as server, connected(server) as client:
        await client.to_data()
        for _ in range(10):
            await client.stream.send(b"x" * 10)
            await anyio.sleep(200)
        assert await client.ask(b"\r\n.\r\n") == "250 2.0.0 queued as J1"
    assert memory.stored[0].content == b"x" * 100 + b"\r\n"


async def test_but_not_forever() -> None:
    memory = Memory()
    async with serving(memory) as server, connected(server) as client:
        await client.to_data()
        began = anyio.current_time()
        async with dripping(client, b"x" * 10, 200):
            assert await client.reply() == "421 4.7.0 Nothing was sent for too long"
        assert anyio.current_time() - began == pytest.approx(3_600, abs=10)
        await until_closed(memory)
    assert memory.discarded == 1
    assert memory.connections[0].ending == "idle"


async def test_a_message_that_is_refused_may_come_slowly_too() -> None:
    memory = Memory(write_error=OSError(errno.ENOSPC, "No space left on device"))
    async with serving(memory) as server, connected(server) as client:
        await client.to_data()
        for _ in range(5):
            await client.stream.send(b"x" * 10)
            await anyio.sleep(200)
        assert await client.ask(b"\r\n.\r\n") == "452 4.3.1 There is no room for a message now"
        assert await client.ask(b"NOOP\r\n") == "250 2.0.0 Done"
    assert "*  the message could not be stored: No space left on device" in memory.connections[0].transcript.lines


async def test_no_room_within_chunks() -> None:
    memory = Memory(write_error=OSError(errno.ENOSPC, "full"))
    async with serving(memory) as server, connected(server) as client:
        for line in (b"EHLO me", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.com>"):
            await client.ask(line + b"\r\n")
        assert await client.ask(b"BDAT 3\r\na\r\n") == "452 4.3.1 There is no room for a message now"
        assert await client.ask(b"BDAT 0 LAST\r\n") == "503 5.5.1 Send MAIL first"


async def test_strangers() -> None:
    memory = Memory(greeting=replies.NOT_ALLOWED_HERE)
    async with serving(memory) as server:
        async with connected(server, greeted=False) as client:
            assert await client.reply() == "554 5.7.1 This device is not known here"
            assert await client.ask(b"EHLO NPIF65E56\r\n") == "503 5.5.1 Not now"
            began = anyio.current_time()
            assert await client.reply() == "421 4.7.0 Nothing was sent for too long"
            assert anyio.current_time() - began == pytest.approx(10, abs=1)
        async with connected(server, greeted=False) as client:
            await client.reply()
            assert await client.ask(b"QUIT\r\n") == "221 2.0.0 Goodbye"
        await until_closed(memory, 2)
    assert [(each.hello, each.ending) for each in memory.connections] == [("NPIF65E56", "idle"), (None, "quit")]


async def test_a_client_that_sends_on_still_gets_the_last_reply() -> None:
    async with serving(Memory()) as server, connected(server) as client:
        await client.stream.send(b"GET / HTTP/1.1\r\n" + b"Header: x\r\n" * 20_000)
        assert await client.reply() == "500 5.5.2 This is an SMTP server"


async def test_replies_to_a_flood_do_not_collect() -> None:
    async with serving(Memory()) as server, connected(server) as client, anyio.create_task_group() as group:
        group.start_soon(client.stream.send, FLOOD * 45)
        for _ in range(45 * (MANY + 3)):
            assert (await client.reply()).startswith("250")


async def test_a_client_that_does_not_read() -> None:
    memory = Memory()
    async with serving(memory) as server, connected(server) as client, anyio.create_task_group() as group:
        group.start_soon(flood, client)
        await until_closed(memory)
        group.cancel_scope.cancel()
    assert memory.connections[0].ending == "idle"
    assert memory.connections[0].transcript.lines[-1] == "*  the client does not read the replies"


async def flood(client: Client) -> None:
    with suppress(anyio.BrokenResourceError):
        while True:
            await client.stream.send(FLOOD)


# The end.


async def test_stopping() -> None:
    memory = Memory()
    async with serving(memory) as server:
        async with connected(server) as idle, connected(server) as busy, connected(server) as begun:
            await busy.to_data()
            for line in (b"HELO me\r\n", b"MAIL FROM:<a@example.com>\r\n"):
                await begun.ask(line)
            server.stop()
            assert await idle.reply() == "421 4.3.2 The server is stopping; try again soon"
            assert await idle.reply() == ""
            assert await begun.ask(b"RCPT TO:<b@example.com>\r\n") == "250 2.1.5 Recipient accepted"
            assert await begun.ask(b"RSET\r\n") == "250 2.0.0 Done"
            assert await begun.reply() == "421 4.3.2 The server is stopping; try again soon"
            assert await busy.ask(b"x\r\n.\r\n") == "250 2.0.0 queued as J1"
            assert await busy.reply() == "421 4.3.2 The server is stopping; try again soon"
            with pytest.raises(OSError, match=r"connect|refused"):
                await anyio.connect_tcp("127.0.0.1", server.listener.port)
        await until_closed(memory, 3)
    assert [connection.ending for connection in memory.connections] == ["stopped"] * 3
    assert len(memory.stored) == 1


async def test_a_connection_that_comes_as_the_server_stops() -> None:
    memory = Memory(greeting=None)
    async with serving(memory) as server, await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        client = Client(stream)
        # Accepted by the system, and perhaps not by us yet.
        server.stop()
        heard = [await client.reply() for _ in range(2)]
    assert heard in (
        ["", ""],
        ["220 gate.example ESMTP", "421 4.3.2 The server is stopping; try again soon"],
    )


async def test_serving_ends_once_the_last_session_has_ended() -> None:
    memory = Memory(may_commit=anyio.Event())
    listener = await open_listener("scan", "127.0.0.1", 0)
    server = SmtpServer(listener, SessionSettings("gate.example", Security.NONE), memory)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        async with connected(server) as client:
            await client.to_data()
            await client.stream.send(b"x\r\n.\r\n")
            await memory.committing.wait()
            server.stop()
            await anyio.sleep(1)
            assert listener.connections == 1
            memory.may_commit.set()
            assert await client.reply() == "250 2.0.0 queued as J1"
            assert await client.reply() == "421 4.3.2 The server is stopping; try again soon"
    assert listener.connections == 0


@pytest.mark.parametrize("octets", [b"", b"EHLO me\r\n", b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n"])
async def test_a_client_that_goes(octets: bytes) -> None:
    memory = Memory()
    async with serving(memory) as server:
        async with connected(server) as client:
            if octets:
                await client.stream.send(octets)
                for _ in range(octets.count(b"\n")):
                    await client.reply()
        await until_closed(memory)
    assert memory.connections[0].ending == "closed"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_that_goes_within_a_message(chunked: bool) -> None:
    memory = Memory()
    async with serving(memory) as server:
        async with connected(server) as client:
            if chunked:
                for line in (b"EHLO me", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.com>"):
                    await client.ask(line + b"\r\n")
                await client.stream.send(b"BDAT 50000 LAST\r\n" + b"x" * 40_000)
            else:
                await client.to_data()
                await client.stream.send(b"x" * 40_000)
        await until_closed(memory)
    assert (memory.stored, memory.discarded) == ([], 1)


async def test_cancelled_while_it_stores() -> None:
    memory = Memory(may_commit=anyio.Event())
    with anyio.CancelScope() as scope:
        async with serving(memory) as server, connected(server) as client:
            await client.to_data()
            await client.stream.send(b"x\r\n.\r\n")
            await memory.committing.wait()
            scope.cancel()
    assert memory.stored == []
    assert memory.connections[0].ending == "stopped"


async def test_cancelled_within_a_message() -> None:
    memory = Memory()
    async with serving(memory) as server, connected(server) as client:
        await client.to_data()
        await client.stream.send(b"x" * 1_000)
        await anyio.sleep(1)
        assert memory.open_writers == 1
    # `serving` has cancelled the server.
    assert memory.discarded == 1
    assert memory.connections[0].ending in {"stopped", "closed"}


async def test_an_error_of_the_backend(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(fault=RuntimeError("no policy"))
    async with serving(memory) as server:
        async with connected(server) as client:
            await client.ask(b"EHLO me\r\n")
            assert await client.ask(b"MAIL FROM:<>\r\n") == "421 4.3.0 An error on this side; try again later"
        async with connected(server):
            pass
        await until_closed(memory, 2)
    assert memory.connections[0].ending == "error"
    assert "no policy" in caplog.text


async def test_an_error_of_the_backend_is_not_taken_for_the_clients(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(fault=ConnectionError("the database has gone"))
    async with serving(memory) as server, connected(server) as client:
        await client.ask(b"EHLO me\r\n")
        assert await client.ask(b"MAIL FROM:<>\r\n") == "421 4.3.0 An error on this side; try again later"
        await until_closed(memory)
    assert memory.connections[0].ending == "error"

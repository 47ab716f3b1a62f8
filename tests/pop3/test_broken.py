"""A session whose server closes, resets, falls silent, trickles, or never ends."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import Entry, MailError, NetworkError, RefusedError, Security, ServerError, connect_pop3
from pop3.hostile_server import AUTH, run_hostile_server

if TYPE_CHECKING:
    import ssl

    from mailslot import Endpoint
    from pop3.hostile_server import ServerConnection

pytestmark = pytest.mark.virtual_time

MESSAGE = b"Subject: x\r\n\r\n.\r\nlast\r\n"
ENTRY = Entry(1, "a", 24)

DIALOGUE = [
    ("", b"+OK ready\r\n"),
    ("CAPA", b"+OK\r\nUIDL\r\n.\r\n"),
    ("USER scanner@example.com", b"+OK\r\n"),
    ("PASS correct-horse", b"+OK\r\n"),
    ("STAT", b"+OK 1 24\r\n"),
    ("CAPA", b"+OK\r\nUIDL\r\n.\r\n"),
    ("LIST", b"+OK\r\n1 24\r\n.\r\n"),
    ("UIDL", b"+OK\r\n1 a\r\n.\r\n"),
    ("RETR 1", b"+OK\r\nSubject: x\r\n\r\n..\r\nlast\r\n.\r\n"),
    ("DELE 1", b"+OK\r\n"),
    ("NOOP", b"+OK\r\n"),
    ("QUIT", b"+OK\r\n"),
]


async def poll(endpoint: Endpoint, context: ssl.SSLContext, timeout: float = 5) -> bytes:
    """Fetch and delete one message."""
    async with connect_pop3(endpoint, AUTH, ssl_context=context, timeout=timeout) as session:
        await session.stat()
        (entry,) = await session.listing()
        message = b"".join([chunk async for chunk in session.retrieve(entry)])
        await session.delete(entry)
        await session.noop()
    return message


async def test_the_dialogue_works(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    async def part(client: ServerConnection) -> None:
        for line, answer in DIALOGUE:
            assert not line or await client.read_line() == line
            await client.send(answer)

    async with run_hostile_server(part, context=server_context) as server:
        assert await poll(server.endpoint, client_context) == MESSAGE
    assert server.client.lines == [line for line, _ in DIALOGUE[1:]]


@pytest.mark.parametrize("at", range(len(DIALOGUE)), ids=[line or "greeting" for line, _ in DIALOGUE])
@pytest.mark.parametrize(
    ("ending", "half"), [("close", False), ("close", True), ("reset", False), ("reset", True), ("silence", True)]
)
async def test_a_disconnect_at_every_point(
    at: int, ending: str, half: bool, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def part(client: ServerConnection) -> None:
        for number, (line, answer) in enumerate(DIALOGUE):
            assert not line or await client.read_line() == line
            if number == at:
                await client.send(answer[: len(answer) // 2 if half else 0])
                if ending == "close":
                    await client.close()
                elif ending == "reset":
                    await client.reset()
                return
            await client.send(answer)

    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(NetworkError) as caught:
            await poll(server.endpoint, client_context, timeout=0.15 if ending == "silence" else 5)
        await server.wait_for_disconnects()
    error = caught.value
    stages = ["greeting", "capabilities", *["sign_in"] * 2, *["transaction"] * 7, "quit"]
    assert (error.stage, error.retryable, error.in_doubt) == (stages[at], True, False)
    assert error.cause == ("connection_timeout" if ending == "silence" and at == 0 else "connection_lost")
    assert error.waited == (0.15 if ending == "silence" else None)
    # Nobody said QUIT before the end was reached, so nothing was deleted.
    assert ("QUIT" in server.client.lines) is (at == len(DIALOGUE) - 1)


@pytest.mark.parametrize(
    ("said", "code", "retryable"),
    [
        (b"-ERR STLS failed: no certificate\r\n", None, False),
        (b"-ERR [SYS/TEMP] TLS is down\r\n", "SYS/TEMP", True),
    ],
)
async def test_plain_text_in_answer_to_a_client_hello_is_a_refusal(
    said: bytes, code: str | None, retryable: bool, client_context: ssl.SSLContext
) -> None:
    """Courier and Cyrus say so in clear where their own TLS is broken."""

    async def part(client: ServerConnection) -> None:
        await client.send(b"+OK ready\r\n")
        await client.read_line()
        await client.send(b"+OK\r\nSTLS\r\n.\r\n")
        await client.read_line()
        await client.send(b"+OK Begin TLS\r\n")
        before = len(client.received)
        while len(client.received) == before:
            await client.receive()
        await client.send(said)
        await client.close()

    async with run_hostile_server(part, security=Security.STARTTLS) as server:
        with pytest.raises(RefusedError) as caught:
            await poll(server.endpoint, client_context)
    error = caught.value
    assert (error.stage, error.cause, error.retryable) == ("tls", "tls_failed", retryable)
    assert error.reply is not None
    assert (error.reply.code, error.reply.enhanced) == (None, code)
    assert str(error).endswith(error.reply.text)
    assert said.decode().strip().endswith(error.reply.text)


async def test_a_refusal_delayed_beyond_the_timeout(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """Courier delays it by five seconds: no connection is lost, and nobody has to guess how long was waited."""

    async def part(client: ServerConnection) -> None:
        await client.send(b"+OK ready\r\n")
        while not (await client.read_line()).startswith("PASS"):
            await client.send(b"+OK\r\n" if client.lines[-1].startswith("USER") else b"-ERR\r\n")
        await client.drain()

    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(NetworkError) as caught:
            await poll(server.endpoint, client_context, timeout=0.5)
    error = caught.value
    assert (error.stage, error.cause, error.waited) == ("sign_in", "connection_lost", 0.5)
    assert "during the sign-in: no answer within 0.5 seconds" in str(error)
    assert error.retryable


async def test_a_slow_but_steady_message_is_received(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def part(client: ServerConnection) -> None:
        await client.sign_in()
        await client.read_line()
        await client.send(b"+OK\r\n")
        await client.trickle(b"0123456789\r\n.\r\n", 0.04)
        await client.read_line()
        await client.send(b"+OK\r\n")

    async with run_hostile_server(part, context=server_context) as server:
        started = anyio.current_time()
        async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=0.3) as session:
            assert b"".join([chunk async for chunk in session.retrieve(ENTRY)]) == b"0123456789\r\n"
    assert anyio.current_time() - started >= 0.5


@pytest.mark.parametrize("command", ["LIST", "UIDL"])
async def test_an_invalid_listing_fails_immediately(
    command: str, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """Its end might never come."""

    async def part(client: ServerConnection) -> None:
        await client.sign_in()
        while await client.read_line() != command:
            await client.send(b"+OK\r\n1 24\r\n.\r\n")
        await client.send(b"+OK\r\n+OK what else?\r\n")
        await client.drain()

    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(ServerError) as caught:
            async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=60) as session:
                await session.listing()
    assert (caught.value.stage, caught.value.cause) == ("transaction", "protocol_error")


async def test_a_slow_but_steady_listing_is_received(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def part(client: ServerConnection) -> None:
        await client.sign_in()
        await client.read_line()
        await client.send(b"+OK\r\n")
        await client.trickle(b"1 1\r\n2 2\r\n.\r\n", 0.04)
        while await client.read_line():
            await client.send(b"-ERR\r\n")

    async with (
        run_hostile_server(part, context=server_context) as server,
        connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=0.3) as session,
    ):
        assert [entry.size for entry in await session.listing()] == [1, 2]


@pytest.mark.parametrize("where", ["greeting", "CAPA", "PASS", "RETR", "QUIT"])
async def test_a_trickled_status_line_is_bounded(
    where: str, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def part(client: ServerConnection) -> None:
        if where == "greeting":
            await client.trickle(b"+OK " + b"x" * 500, 0.02)
        await client.send(b"+OK\r\n")
        while line := await client.read_line():
            if line.startswith(where):
                await client.trickle(b"+OK " + b"x" * 500, 0.02)
            await client.send(b"-ERR\r\n" if line == "CAPA" else b"+OK\r\n")

    started = anyio.current_time()
    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(NetworkError) as caught:  # noqa: PT012 - any of it may be where it fails
            async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=0.2) as session:
                await session.delete(ENTRY)
                if where == "RETR":
                    async for _ in session.retrieve(ENTRY):
                        pass
    assert caught.value.retryable
    assert anyio.current_time() - started < 1.5


async def test_a_line_of_ten_megabytes_in_a_message(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def part(client: ServerConnection) -> None:
        await client.sign_in()
        await client.read_line()
        await client.send(b"+OK\r\n")
        for _ in range(160):
            await client.send(b"." + b"x" * 65_535)
        await client.send(b"\r\n.\r\n")
        await client.read_line()
        await client.send(b"+OK\r\n")

    async with (
        run_hostile_server(part, context=server_context) as server,
        connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=5) as session,
    ):
        size = 0
        async for chunk in session.retrieve(ENTRY):
            size += len(chunk)
    # The very first dot was stuffed; all others stand within the line.
    assert size == 160 * 65_536 - 1 + 2


@pytest.mark.parametrize("octets", [b"+OK ", b"-ERR ", b"1 "], ids=repr)
async def test_a_status_line_of_ten_megabytes(
    octets: bytes, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def part(client: ServerConnection) -> None:
        await client.sign_in()
        await client.read_line()
        await client.send(octets)
        await client.forever(b"x" * 65_536)

    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(ServerError) as caught:
            async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=5) as session:
                await session.stat()
    assert (caught.value.stage, caught.value.cause) == ("transaction", "protocol_error")
    assert server.client.lines[-1] == "STAT"


async def test_an_endless_message_is_abandoned(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """PT-13: the reader limits it; the session ends without QUIT, and nothing is kept in memory."""

    async def part(client: ServerConnection) -> None:
        await client.sign_in()
        await client.read_line()
        await client.send(b"+OK\r\n")
        await client.forever(b"and so on\r\n" * 5_000)

    async with run_hostile_server(part, context=server_context) as server:
        size = 0
        with pytest.raises(MailError) as caught:  # noqa: PT012 - any of it may be where it fails
            async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=5) as session:
                tracemalloc.start()
                async for chunk in session.retrieve(ENTRY):
                    size += len(chunk)
                    if size > 20_000_000:
                        break
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                await session.delete(ENTRY)
        await server.wait_for_disconnects()
    assert peak < 2_000_000
    assert caught.value.stage == "transaction"
    assert server.client.lines[-1] == "RETR 1"


async def test_skipping_an_abandoned_message_is_bounded_in_time(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def part(client: ServerConnection) -> None:
        await client.sign_in()
        await client.read_line()
        await client.send(b"+OK\r\nbeginning\r\n")
        await client.trickle(b"and so on" * 1_000, 0.02)

    started = anyio.current_time()
    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(NetworkError) as caught:  # noqa: PT012 - any of it may be where it fails
            async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=0.3) as session:
                async for _ in session.retrieve(ENTRY):
                    break
                await session.noop()
    assert (caught.value.cause, caught.value.retryable) == ("connection_lost", True)
    assert anyio.current_time() - started < 1.5


@pytest.mark.parametrize("line", [b"1 1\r\n", b"1 " + b"9" * 1_000 + b"\r\n"], ids=["short", "long"])
async def test_an_endless_listing(line: bytes, client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    async def part(client: ServerConnection) -> None:
        await client.sign_in()
        await client.read_line()
        await client.send(b"+OK\r\n")
        await client.forever(line * (65_536 // len(line)))

    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(ServerError, match="not the protocol") as caught:
            async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=5) as session:
                await session.listing()
    assert "without end" in caught.value.detail


async def test_endless_capabilities(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """PT-05: 100,000 lines."""

    async def part(client: ServerConnection) -> None:
        await client.send(b"+OK\r\n")
        await client.read_line()
        await client.send(b"+OK\r\n", b"X-A\r\n" * 100_000)

    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(ServerError):
            async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=5):
                pass


async def test_ten_thousand_messages_one_of_which_is_refused(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """PT-12: the listing is read fast, and the refusal of one message stops no other."""
    count = 10_000

    async def part(client: ServerConnection) -> None:
        await client.sign_in(b"PIPELINING\r\n")
        sizes = b"".join(b"%d %d\r\n" % (number, (0, -1, 2**63, 9)[number % 4]) for number in range(1, count + 1))
        uids = b"".join(b"%d uid-%d\r\n" % (number, number) for number in range(1, count + 1))
        while line := await client.read_line():
            if line == "CAPA":
                await client.send(b"+OK\r\nPIPELINING\r\n.\r\n")
            elif line in {"LIST", "UIDL"}:
                await client.send(b"+OK\r\n", sizes if line == "LIST" else uids, b".\r\n")
            elif line == "RETR 17":
                await client.send(b"-ERR cannot be read\r\n")
            else:
                await client.send(b"+OK\r\n", b"x\r\n.\r\n" if line.startswith("RETR") else b"")

    async with (
        run_hostile_server(part, context=server_context) as server,
        connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=5) as session,
    ):
        entries = await session.listing()
        assert [entry.uid for entry in entries] == [f"uid-{number}" for number in range(1, count + 1)]
        assert {entry.size for entry in entries} == {0, 9}
        got, refused = 0, []
        async for message in session.retrieve_many(entries[:40]):
            try:
                got += sum([len(chunk) async for chunk in message])
            except MailError:
                refused.append(message.entry.number)
        assert (got, refused) == (39 * 3, [17])

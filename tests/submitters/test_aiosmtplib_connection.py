"""Connections of aiosmtplib: bounded buffers, and closing in time."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import virtual_time
from mailslot import MailError, Security
from mailslot_plugins.aiosmtplib.submitter import connect
from smtp.servers import MESSAGE, SENDER, TO, ServerConnection, long, serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.virtual_time


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual_time.backend("asyncio")


async def taking(wire: ServerConnection) -> None:
    """Take everything but the message."""
    await wire.greet()
    for code in (250, 250, 354):
        await wire.line()
        await wire.say(f"{code} ok")


async def test_cancelled_before_the_connection_is_returned() -> None:
    """A socket that nobody has closed would be told as a warning once it is collected."""

    def cancel(begun: str) -> None:
        if begun == "greeting":
            scope.cancel()

    async with serving(lambda wire: wire.gone()) as running:  # type: ignore[arg-type,return-value]  # it is awaited
        with anyio.CancelScope() as scope:
            async with connect(running.endpoint, timeout=5, on_stage=cancel):
                pass
        assert scope.cancelled_caught
        gc.collect()


async def test_an_extra_reply_before_starttls() -> None:
    """aiosmtplib takes what came with the greeting for the answer to EHLO; the fault is the server's."""

    async def server(wire: ServerConnection) -> None:
        await wire.say("220 mail.example.com", "250 mail.example.com")
        await wire.line()
        await wire.say("250-mail.example.com", "250 STARTTLS")
        assert await wire.gone() == b""

    async with serving(server, Security.STARTTLS) as running:
        with pytest.raises(MailError) as caught:
            async with connect(running.endpoint, timeout=5):
                pass
    assert (caught.value.cause, caught.value.stage) == ("protocol_error", "tls")


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_lost_before_the_end_is_not_in_doubt(*, reset: bool) -> None:
    """Nobody has the end of a message that was to go out when the connection was gone already."""
    ending = anyio.Event()

    async def server(wire: ServerConnection) -> None:
        await taking(wire)
        await ending.wait()
        if reset:
            await wire.reset()

    async def before_end() -> None:
        ending.set()
        await anyio.sleep(0.1)

    async with serving(server) as running, connect(running.endpoint, timeout=5) as session:
        with pytest.raises(MailError) as caught:
            await session.submit(SENDER, TO, MESSAGE, before_end=before_end)
    assert (caught.value.cause, caught.value.in_doubt, caught.value.retryable) == ("connection_lost", False, True)


async def test_a_trickling_partial_reply_is_no_progress() -> None:
    """The server takes nothing of the message, and says an octet of a refusal now and then."""

    async def server(wire: ServerConnection) -> None:
        await taking(wire)
        await wire.stream.send(b"552-")
        while True:
            await wire.stream.send(b"x")
            await anyio.sleep(0.05)

    async with (
        serving(server, receive_buffer=4_096) as running,
        connect(running.endpoint, timeout=1) as session,
    ):
        with anyio.fail_after(60), pytest.raises(MailError) as caught:
            await session.submit(SENDER, TO, long(20))
    assert (caught.value.cause, caught.value.in_doubt) == ("connection_lost", False)


async def test_endless_unsolicited_output_closes_the_connection() -> None:
    """asyncio reads on while nobody waits for anything."""
    opened, flooded = anyio.Event(), anyio.Event()
    said = 0

    async def server(wire: ServerConnection) -> None:
        nonlocal said
        await wire.greet()
        await opened.wait()
        try:
            for said in range(40):  # noqa: B007 - it is looked at below
                await wire.stream.send(b"x" * 1_000_000)
        finally:
            flooded.set()

    async with serving(server) as running, connect(running.endpoint, timeout=5) as session:
        opened.set()
        await flooded.wait()
        with pytest.raises(MailError):
            await session.submit(SENDER, TO, MESSAGE)
    assert said < 39


class Counted:
    """A message that knows how much of it was taken."""

    eight_bit = smtputf8 = False

    def __init__(self) -> None:
        self._message = long(20)
        self.size = self._message.size
        self.taken = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        async for piece in self._message.chunks():
            self.taken += len(piece)
            yield piece


async def test_sent_data_is_in_the_socket(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """By default, asyncio buffers half a megabyte in TLS, so that a dead connection would seem alive."""
    given_up, over = anyio.Event(), anyio.Event()
    message = Counted()
    arrived = 0

    async def server(wire: ServerConnection) -> None:
        nonlocal arrived
        await wire.start_tls(server_context)
        await taking(wire)
        await given_up.wait()
        try:
            while True:
                arrived += len(await wire.octets())
        finally:
            over.set()

    async with serving(server, Security.TLS, receive_buffer=4_096) as running:
        with pytest.raises(MailError) as caught:
            async with connect(running.endpoint, ssl_context=client_context, timeout=0.5) as session:
                await session.submit(SENDER, TO, message)
        assert not caught.value.in_doubt
        given_up.set()
        await over.wait()
    assert 0 < message.taken - arrived < 400_000

"""What a short message costs to fetch, so that no change makes it slow unnoticed."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from costs import Costs
from mailslot import Endpoint, Password, Security, connect_pop3

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.implementation.name != "cpython", reason="other interpreters have other calls")

MESSAGES = 200
MESSAGE = b"Subject: a request\r\n\r\n" + b"A line as long as any.\r\n" * 160
RESPONSES = {
    b"CAPA": b"+OK\r\nPIPELINING\r\nUIDL\r\nSASL PLAIN\r\n.\r\n",
    b"LIST": b"+OK\r\n%s.\r\n" % b"".join(b"%d %d\r\n" % (n + 1, len(MESSAGE)) for n in range(MESSAGES)),
    b"UIDL": b"+OK\r\n%s.\r\n" % b"".join(b"%d u%d\r\n" % (n + 1, n) for n in range(MESSAGES)),
    b"RETR": b"+OK %d octets\r\n%s.\r\n" % (len(MESSAGE), MESSAGE),
}
MAX_LISTING_CALLS = {"asyncio": 29, "trio": 29}
"""Calls for the two lines of a message in the listing; a tenth is to spare."""

MAX_CALLS = {"asyncio": 60, "trio": 60}
"""Calls a message, TLS included: 43 to 48 where a dozen arrive at once, more where fewer do."""


def serve(server: socket.socket, context: ssl.SSLContext) -> None:
    """Reply to all commands of a group at once."""
    connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
        encrypted.sendall(b"+OK ready\r\n")
        buffer = b""
        while data := encrypted.recv(262_144):
            *commands, buffer = (buffer + data).split(b"\r\n")
            encrypted.sendall(b"".join(RESPONSES.get(command[:4], b"+OK\r\n") for command in commands))


@contextmanager
def maildrop(context: ssl.SSLContext) -> Iterator[Endpoint]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server, context))
        thread.start()
        yield Endpoint("localhost", server.getsockname()[1], Security.TLS)
        thread.join()


async def test_the_calls_of_a_line_of_a_listing(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext, anyio_backend_name: str
) -> None:
    auth = Password("scanner@example.com", "correct-horse")
    with maildrop(server_context) as endpoint:
        async with connect_pop3(endpoint, auth, ssl_context=client_context) as session:
            with Costs() as costs:
                entries = await session.listing()
    assert len(entries) == MESSAGES
    assert costs.calls / MESSAGES <= MAX_LISTING_CALLS[anyio_backend_name], costs.calls / MESSAGES


async def test_the_calls_of_a_message(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext, anyio_backend_name: str
) -> None:
    auth = Password("scanner@example.com", "correct-horse")
    with maildrop(server_context) as endpoint:
        async with connect_pop3(endpoint, auth, ssl_context=client_context) as session:
            entries = await session.listing()
            with Costs() as costs:
                messages = [
                    b"".join([octets async for octets in retrieval])
                    async for retrieval in session.retrieve_many(entries)
                ]
    assert messages == [MESSAGE] * MESSAGES
    assert costs.calls / MESSAGES <= MAX_CALLS[anyio_backend_name], costs.calls / MESSAGES

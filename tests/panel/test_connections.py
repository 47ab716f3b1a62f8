"""Connections: many short ones, closed ones, and clients that hold as many as they can."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
import httpx2
import pytest
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mailslot_plugins.panel import admission, connections
from mailslot_plugins.panel.connections import Connections

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request
    from starlette.responses import Response

GENEROUS: Final = 60
"""Seconds for what takes a moment on a machine that has nothing else to do."""

ASK: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Running:
    """A server of HTTP.

    Attributes:
        port: where it listens, on 127.0.0.1.
        tls: what a client speaks to it; None for plain HTTP.
        connections: what is tested.
        waiting: requests to ``/wait`` that have come.
        go: lets them be answered.
    """

    port: int
    tls: ssl.SSLContext | None
    connections: Connections
    waiting: list[int]
    go: anyio.Event

    @property
    def address(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://localhost:{self.port}"

    @property
    def open(self) -> int:
        return len(self.connections._admission._all)

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), GENEROUS)
        return plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname="localhost")

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(GENEROUS):
            while not condition():  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)


@asynccontextmanager
async def running(server: ssl.SSLContext | None, client: ssl.SSLContext | None) -> AsyncGenerator[Running]:
    waiting: list[int] = []
    go = anyio.Event()

    async def answer(_: Request) -> Response:
        return PlainTextResponse("here")

    async def wait(request: Request) -> Response:
        await request.body()
        waiting.append(1)
        await go.wait()
        return PlainTextResponse("at last")

    async def refuse(_: Request) -> Response:
        return PlainTextResponse("unread", 413)

    routes = [
        Route("/", answer),
        Route("/wait", wait, methods=["GET", "POST"]),
        Route("/refuse", refuse, methods=["POST"]),
    ]
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        found = Connections(Starlette(routes=routes), listener, server)
        async with anyio.create_task_group() as group:
            group.start_soon(found.run)
            yield Running(listener.getsockname()[1], client, found, waiting, go)
            group.cancel_scope.cancel()


@pytest.fixture(params=["http", "https"])
async def server(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    monkeypatch: pytest.MonkeyPatch,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> AsyncGenerator[Running]:
    """A server that waits an hour for a next request, and to which 127.0.0.1 is an address like any other."""
    monkeypatch.setattr(connections, "IDLE_TIMEOUT", 3600.0)
    monkeypatch.setattr(connections, "HANDSHAKE_TIMEOUT", 3600.0)
    monkeypatch.setattr(admission, "client_network", str)
    contexts = (server_context, client_context) if request.param == "https" else (None, None)
    async with running(*contexts) as found:
        yield found


def read_to_end(connection: socket.socket) -> bytes:
    octets = b""
    while piece := connection.recv(65536):
        octets += piece
    return octets


def ask(connection: socket.socket, request: bytes = ASK) -> bytes:
    """Return the answer to a request, of a connection that stays open."""
    connection.sendall(request)
    octets = b""
    while not octets.endswith((b"here", b"at last", b"unread")):
        piece = connection.recv(65536)
        assert piece, octets
        octets += piece
    return octets


def reset(connection: socket.socket) -> None:
    """Close by RST, as a program does that is killed, or a router that has forgotten the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answered_and_closed(server: Running) -> None:
    with closing(server.connect()) as connection:
        assert ask(connection).startswith(b"HTTP/1.1 200")


def answered_and_reset(server: Running) -> None:
    connection = server.connect()
    assert ask(connection).startswith(b"HTTP/1.1 200")
    reset(connection)


def half_closed(server: Running) -> None:
    """With TLS, this is also the end without its alert."""
    with closing(server.connect()) as connection:
        ask(connection)
        connection.shutdown(socket.SHUT_WR)
        if server.tls is None:
            assert read_to_end(connection) == b""


def silent(server: Running) -> None:
    socket.create_connection(("127.0.0.1", server.port), GENEROUS).close()


def silent_and_reset(server: Running) -> None:
    reset(socket.create_connection(("127.0.0.1", server.port), GENEROUS))


def gone_amid_the_first_line(server: Running) -> None:
    """Over https, in the middle of the ClientHello."""
    with closing(socket.create_connection(("127.0.0.1", server.port), GENEROUS)) as connection:
        connection.sendall(b"GET / HT" if server.tls is None else b"\x16\x03\x01\x02\x00\x01")


def gone_amid_a_body(server: Running) -> None:
    with closing(server.connect()) as connection:
        connection.sendall(b"POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx")


@pytest.mark.parametrize(
    ("script", "times"),
    [
        (answered_and_closed, 300),
        (answered_and_reset, 150),
        (half_closed, 150),
        (silent, 150),
        (silent_and_reset, 150),
        (gone_amid_the_first_line, 150),
        (gone_amid_a_body, 150),
    ],
)
async def test_closed_connections_are_released(server: Running, script: Callable[[Running], None], times: int) -> None:
    """More often in a row from one address than there may be connections, while the server would wait for an hour."""
    assert times > admission.MAX_CONNECTIONS

    def again_and_again() -> None:
        for _ in range(times):
            script(server)

    await run_sync(again_and_again)
    await server.until(lambda: server.open == 0)
    await run_sync(answered_and_closed, server)


async def test_five_hundred_requests_on_one_connection(server: Running) -> None:
    async with httpx2.AsyncClient(base_url=server.address, verify=server.tls or True, trust_env=False) as client:
        for _ in range(500):
            assert (await client.get("/")).text == "here"
        assert server.open == 1
    await server.until(lambda: server.open == 0)


async def test_a_half_closed_connection_gets_its_response(anyio_backend: str) -> None:
    async with running(None, None) as server:
        with closing(await run_sync(server.connect)) as connection:
            connection.sendall(ASK.replace(b"/", b"/wait", 1) + ASK)
            connection.shutdown(socket.SHUT_WR)
            await server.until(lambda: len(server.waiting) == 1)
            server.go.set()
            octets = await run_sync(read_to_end, connection)
    assert octets.count(b"HTTP/1.1 200") == 2
    assert octets.endswith(b"here")


async def test_a_response_before_the_whole_request_was_read(server: Running) -> None:
    """What nobody reads does not block the connection, and the answer is seen all the same."""
    with closing(await run_sync(server.connect)) as connection:

        def send() -> bytes:
            connection.sendall(b"POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
            try:
                for _ in range(100):
                    connection.sendall(b"x" * 1000)
            except OSError:
                pass  # closed meanwhile
            return connection.recv(65536)

        assert (await run_sync(send)).startswith(b"HTTP/1.1 413")
    await server.until(lambda: server.open == 0)


@pytest.mark.parametrize(
    "request_",
    [
        ASK[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQC\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
    ids=["upgrade", "prior-knowledge"],
)
async def test_http_2_is_refused(server: Running, request_: bytes) -> None:
    """Its streams would pass by the bounds on connections."""
    with closing(await run_sync(server.connect)) as connection:

        def exchange() -> bytes:
            connection.sendall(request_)
            return connection.recv(65536)

        octets = await run_sync(exchange)
    assert octets.startswith(b"HTTP/1.1 ")
    assert not octets.startswith(b"HTTP/1.1 101")


async def test_one_address_cannot_use_all_connections(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client at its limit loses its longest idle connection, and is refused while all are busy."""
    monkeypatch.setattr(admission, "MAX_CONNECTIONS_PER_PEER", 3)
    kept = [await run_sync(server.connect) for _ in range(3)]
    try:
        for each in kept:
            await run_sync(ask, each)
        kept.append(await run_sync(server.connect))
        await run_sync(ask, kept[3])
        assert await run_sync(ended, kept[0])
        for each in kept[1:]:
            each.sendall(ASK.replace(b"/", b"/wait", 1))
        await server.until(lambda: len(server.waiting) == 3)
        with closing(socket.create_connection(("127.0.0.1", server.port), GENEROUS)) as refused:
            assert await run_sync(ended, refused)
        server.go.set()
        for each in kept[1:]:
            assert b"at last" in await run_sync(ask, each, b"")
    finally:
        for each in kept:
            each.close()


async def test_endless_requests_do_not_block_other_clients(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy or in an office with one address, all clients share one limit."""
    monkeypatch.setattr(admission, "MAX_CONNECTIONS_PER_PEER", 3)
    begun = b"POST /wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nx"
    held = [await run_sync(server.connect) for _ in range(3)]
    try:
        for each in held:
            await run_sync(ask, each)
            each.sendall(begun)
        held[1].sendall(b"x")
        await server.until(lambda: len(server.waiting) == 1)
        for loser in (held[0], held[2]):
            held.append(await run_sync(server.connect))
            await run_sync(ask, held[-1])
            held[-1].sendall(begun)
            assert await run_sync(ended, loser)
        server.go.set()
        assert b"at last" in await run_sync(ask, held[1], b"")
    finally:
        for each in held:
            each.close()


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except OSError:
        return True


@pytest.mark.parametrize("busy", [False, True])
async def test_few_addresses_cannot_block_others(server: Running, monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    """If all connections are in use, a new client gets one of the client that has most, busy or not."""
    names = iter("aaabbcda")
    monkeypatch.setattr(admission, "client_network", lambda _: next(names))
    monkeypatch.setattr(admission, "MAX_CONNECTIONS", 5)
    held: list[socket.socket] = []

    async def come() -> None:
        held.append(await run_sync(server.connect))
        if busy:
            held[-1].sendall(ASK.replace(b"/", b"/wait", 1))
            await server.until(lambda: len(server.waiting) == len(held))
        else:
            await run_sync(ask, held[-1])

    try:
        for _ in range(5):
            await come()
        # One of a's three goes; then one of its two, which is older than b's; then one of b's two, since a has but one.
        for loser in (held[0], held[1], held[3]):
            await come()
            assert await run_sync(ended, loser)
        if not busy:
            for each in (held[2], held[4], *held[5:]):
                assert b"here" in await run_sync(ask, each)
    finally:
        server.go.set()
        for each in held:
            each.close()


async def test_a_local_proxy_may_use_all_connections(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_CONNECTIONS_PER_PEER", 3)
    async with running(None, None) as server:
        held = [await run_sync(server.connect) for _ in range(6)]
        for each in held:
            assert b"here" in await run_sync(ask, each)
            each.close()

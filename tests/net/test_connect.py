"""Resolving and connecting: racing of addresses, distinct errors, and closing of unused connections."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from lab.process import free_ports
from mailslot import Endpoint, NetworkError, Security, connect_smtp
from mailslot.net import connect as connect_module
from mailslot.net import establish as establish_module
from mailslot.net.connect import MAX_ADDRESSES, addresses_of_other_family, connect, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.virtual_time


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=8) as server:
        server.settimeout(0)
        yield server


@contextmanager
def at_one_port(*hosts: str) -> Iterator[list[socket.socket]]:
    """Listen at the same port of several addresses; at one of them, somebody else may have it by chance."""
    while True:
        with ExitStack() as stack:
            servers = [stack.enter_context(listening(hosts[0]))]
            try:
                servers += [stack.enter_context(listening(host, servers[0].getsockname()[1])) for host in hosts[1:]]
            except OSError:
                continue
            yield servers
            return


@contextmanager
def black_hole(port: int, host: str = "127.0.0.2") -> Iterator[None]:
    """Let nothing answer there: the queue of connections to be accepted is full."""
    with socket.create_server((host, port), backlog=0) as server, socket.socket() as one, socket.socket() as other:
        for client in (one, other):
            client.settimeout(0)
            client.connect_ex(server.getsockname())
        yield


def endpoint(port: int, security: Security = Security.NONE, host: str = "localhost") -> Endpoint:
    return Endpoint(host, port, security)


def free_port() -> int:
    """Return a port that is free at all addresses of this machine which are used here."""
    return free_ports(1)[0]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def accepted(server: socket.socket) -> int:
    """Return how many connections were made."""
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


# Names.


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "192.0.2.1"])
async def test_an_ip_address_is_not_resolved(host: str) -> None:
    assert await resolve(endpoint(25, host=host), 1) == [host.strip("[]")]


async def test_localhost() -> None:
    assert "127.0.0.1" in await resolve(endpoint(25), 5)


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(NetworkError) as caught:
        await resolve(endpoint(25, host="mail.invalid"), 10)
    assert (caught.value.stage, caught.value.cause) == ("resolve", "name_not_found")
    assert caught.value.retryable
    assert "mail.invalid" in str(caught.value)


@pytest.mark.parametrize("host", ["x" * 64 + ".example", ".example.com"])
async def test_an_invalid_host_name(host: str) -> None:
    with pytest.raises(NetworkError) as caught:
        await resolve(endpoint(25, host=host), 10)
    assert caught.value.cause == "name_not_found"


async def test_a_silent_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asleep(*_: object, **__: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(anyio, "getaddrinfo", asleep)
    with pytest.raises(NetworkError, match=r"within 0\.05 seconds") as caught:
        await resolve(endpoint(25), 0.05)
    assert (caught.value.stage, caught.value.cause) == ("resolve", "name_not_found")


async def test_addresses_are_interleaved_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["2001:db8::1", "2001:db8::2", "2001:db8::2", "192.0.2.1", "2001:db8::3", "192.0.2.2"]

    async def known(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(0, 0, 0, "", (address, 25)) for address in found]

    monkeypatch.setattr(anyio, "getaddrinfo", known)
    assert await resolve(endpoint(25), 1) == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"]
    found[:] = [f"192.0.2.{number}" for number in range(100)]
    assert await resolve(endpoint(25), 1) == found[:MAX_ADDRESSES]
    found.clear()
    with pytest.raises(NetworkError):
        await connect(endpoint(25), await resolve(endpoint(25), 1), 1)


def test_the_other_address_family() -> None:
    addresses = ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    assert addresses_of_other_family(addresses, "192.0.2.9") == ["2001:db8::1"]
    assert addresses_of_other_family(addresses, "::1") == ["192.0.2.1", "192.0.2.2"]
    assert addresses_of_other_family(["192.0.2.1"], "192.0.2.1") == []


# Connections.


async def test_connected_sockets_do_not_block() -> None:
    with listening() as server:
        connected = await connect(endpoint(server.getsockname()[1]), ["127.0.0.1"], 1)
        with connected:
            assert connected.getpeername() == server.getsockname()
            assert not connected.getblocking()


async def test_refused() -> None:
    with pytest.raises(NetworkError) as caught:
        await connect(endpoint(free_port()), ["127.0.0.1", "127.0.0.2"], 5)
    assert (caught.value.stage, caught.value.cause) == ("connect", "connection_refused")
    assert caught.value.retryable
    assert "127.0.0.2" in caught.value.detail


async def test_no_reply_to_a_connection_attempt() -> None:
    port = free_port()
    with black_hole(port):
        began = anyio.current_time()
        with pytest.raises(NetworkError) as caught:
            await connect(endpoint(port), ["127.0.0.2"], 0.2)
        assert anyio.current_time() - began == pytest.approx(0.2)
    assert (caught.value.stage, caught.value.cause) == ("connect", "connection_timeout")
    assert caught.value.retryable


async def test_a_refusal_is_reported_rather_than_a_timeout() -> None:
    """A refusal is an answer: the server is there, and the port is wrong or the service is down."""
    port = free_port()
    with black_hole(port), pytest.raises(NetworkError) as caught:
        await connect(endpoint(port), ["127.0.0.2", "127.0.0.1"], 0.35)
    assert caught.value.cause == "connection_refused"


async def test_a_silent_address_costs_a_quarter_of_a_second() -> None:
    with listening() as server:
        port = server.getsockname()[1]
        with black_hole(port):
            began = anyio.current_time()
            with await connect(endpoint(port), ["127.0.0.2", "127.0.0.1"], 5) as connected:
                assert connected.getpeername()[0] == "127.0.0.1"
            assert anyio.current_time() - began == pytest.approx(0.25)


async def test_a_refusing_address_costs_no_time() -> None:
    with listening() as server:
        began = anyio.current_time()
        with await connect(endpoint(server.getsockname()[1]), ["127.0.0.2", "127.0.0.1"], 5) as connected:
            assert connected.getpeername()[0] == "127.0.0.1"
        assert anyio.current_time() == began


async def test_only_one_connection_is_made() -> None:
    with at_one_port("127.0.0.1", "127.0.0.2") as (first, second):
        with await connect(endpoint(first.getsockname()[1]), ["127.0.0.1", "127.0.0.2"], 5):
            await anyio.sleep(0.05)
        assert (accepted(first), accepted(second)) == (1, 0)


async def test_cancelled_while_connecting() -> None:
    port = free_port()
    before = descriptors()
    with black_hole(port):
        with anyio.move_on_after(0.3) as scope:
            await connect(endpoint(port), ["127.0.0.2", "127.0.0.2", "127.0.0.2"], 5)
        assert scope.cancelled_caught
    # Fewer, where something that another test has left was closed meanwhile.
    assert descriptors() <= before


@pytest.mark.parametrize(
    ("faults", "cause"),
    [
        ([errno.ENETUNREACH], "network_unreachable"),
        ([errno.EHOSTUNREACH, errno.ENETUNREACH], "network_unreachable"),
        ([errno.EHOSTUNREACH, errno.ECONNREFUSED], "connection_refused"),
        ([errno.ENETUNREACH, errno.ETIMEDOUT], "connection_timeout"),
        ([errno.EACCES], "network_unreachable"),
        ([], "network_unreachable"),
    ],
)
def test_errors_have_distinct_causes(faults: Sequence[int], cause: str) -> None:
    errors = [OSError(fault, os.strerror(fault)) for fault in faults]
    error = connect_module._connect_error(endpoint(25), ["192.0.2.1"], errors, None)
    assert (error.stage, error.cause) == ("connect", cause)
    assert error.retryable


# The other family.


class Families:
    """Two servers at one port, one for each family; each does what it is told."""

    def __init__(self, six: str, four: str) -> None:
        self.behaviours = {"::1": six, "127.0.0.1": four}
        self.connections: list[str] = []
        self.sockets: list[socket.socket] = []

    async def serve(self, server: socket.socket, host: str) -> None:
        while True:
            await anyio.wait_readable(server)
            connection, _ = server.accept()
            self.connections.append(host)
            self.sockets.append(connection)
            if self.behaviours[host] == "greets":
                connection.sendall(b"220 mail.example.com\r\n")
                await anyio.sleep(0.02)
                connection.sendall(b"250 mail.example.com\r\n")
            elif self.behaviours[host] == "closes":
                connection.close()


def six_works() -> bool:
    try:
        with listening("::1"):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not six_works(), reason="there is no IPv6 here")
@pytest.mark.parametrize(
    ("six", "four", "security", "cause", "connections"),
    [
        ("greets", "greets", Security.NONE, None, ["::1"]),
        ("silent", "greets", Security.NONE, None, ["::1", "127.0.0.1"]),
        ("silent", "silent", Security.NONE, "connection_timeout", ["::1", "127.0.0.1"]),
        ("silent", "closes", Security.NONE, "connection_lost", ["::1", "127.0.0.1"]),
        ("closes", "greets", Security.NONE, "connection_lost", ["::1"]),
        ("silent", "silent", Security.TLS, "connection_timeout", ["::1", "127.0.0.1"]),
        ("silent", "greets", Security.TLS, "tls_port_mismatch", ["::1", "127.0.0.1"]),
        ("silent", "refuses", Security.NONE, "connection_timeout", ["::1"]),
    ],
)
async def test_a_stalled_address_family_is_replaced_once(
    six: str, four: str, security: Security, cause: str | None, connections: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def both(*_: object) -> list[str]:
        return ["::1", "127.0.0.1"]

    monkeypatch.setattr(establish_module, "resolve", both)
    families = Families(six, four)
    with at_one_port("::1", "127.0.0.1") as (server6, server4):
        port = server6.getsockname()[1]
        async with anyio.create_task_group() as group:
            group.start_soon(families.serve, server6, "::1")
            if four == "refuses":
                # It listens no more, but keeps its port, which nobody else gets.
                server4.shutdown(socket.SHUT_RDWR)
            else:
                group.start_soon(families.serve, server4, "127.0.0.1")
            if cause is None:
                async with connect_smtp(endpoint(port, security), timeout=5):
                    pass
            else:
                with pytest.raises(NetworkError) as caught:
                    async with connect_smtp(endpoint(port, security), timeout=5):
                        pass
                assert caught.value.cause == cause
            group.cancel_scope.cancel()
    for connection in families.sockets:
        connection.close()
    assert families.connections == connections

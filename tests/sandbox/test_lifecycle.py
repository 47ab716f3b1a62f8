"""The sandbox starts and stops at once, and survives every client."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from mailslot_plugins.sandbox import Sandbox, run_sandbox
from mailslot_plugins.sandbox import sandbox as sandbox_module
from sandbox.raw_client import PASSWORD, USER, RawClient, in_thread, pop3, smtp


def open_clients(sandbox: Sandbox) -> list[RawClient | socket.socket]:
    """Leave a client in every state that a server can wait in."""
    idle, sending = smtp(sandbox), smtp(sandbox)
    sending.send(b"MAIL FROM:<scanner@example.com>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n")
    for _ in range(3):
        sending.line()
    sending.send(b"half a mess")
    reading = pop3(sandbox)
    sandbox.maildrops["alice@example.com"].add(b"x" * 30_000_000)
    deaf = pop3(sandbox, "alice@example.com")
    deaf.send(b"RETR 1\r\n")
    silent = socket.create_connection(("127.0.0.1", sandbox.pop3s.port))  # no handshake comes
    port = urlsplit(sandbox.issuer).port
    kept = socket.create_connection(("127.0.0.1", port))
    kept.sendall(b"GET /.well-known/openid-configuration HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert kept.recv(65536).startswith(b"HTTP/1.1 200")
    half = socket.create_connection(("127.0.0.1", port))
    half.sendall(b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
    return [idle, sending, reading, deaf, silent, kept, half]


def ports_of(sandbox: Sandbox) -> set[int]:
    port = urlsplit(sandbox.issuer).port
    assert port is not None
    return {port, *(each.port for each in (sandbox.smtp, sandbox.smtps, sandbox.pop3, sandbox.pop3s))}


def listening() -> dict[str, tuple[int, str]]:
    """Return the port and the address, in hexadecimal, of each socket that listens over IPv4, by its inode.

    A port that was left may belong to a test in another process a moment later, but a socket has its inode to its end.
    """
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    bound = {row[9]: row[1].split(":") for row in rows if row[3] == "0A"}
    return {inode: (int(port, 16), host) for inode, (host, port) in bound.items()}


@pytest.mark.parametrize("how", ["left", "cancelled", "failed"])
async def test_the_sandbox_stops_at_once(how: str) -> None:
    clients: list[RawClient | socket.socket] = []
    began, opened = 0.0, set[str]()
    with anyio.CancelScope() as scope:
        try:
            async with run_sandbox() as sandbox:
                clients = await in_thread(open_clients, sandbox)
                opened = {inode for inode, (port, _) in listening().items() if port in ports_of(sandbox)}
                began = time.monotonic()
                if how == "cancelled":
                    scope.cancel()
                    await anyio.sleep_forever()
                if how == "failed":
                    raise LookupError  # it comes out as it went in, in no group
        except LookupError:
            assert how == "failed"
    assert time.monotonic() - began < 60
    assert scope.cancelled_caught == (how == "cancelled")
    assert len(opened) == 5
    assert not opened & listening().keys()
    for client in clients:
        with client:
            pass
    assert sandbox.errors == []
    gc.collect()  # what was left open would be warned of, and a warning is an error here


async def test_the_sandbox_stops_without_any_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the time is over before hypercorn has ended the connections, on a busy machine."""
    monkeypatch.setattr(sandbox_module, "_SHUTDOWN_GRACE", 0.0)
    await test_the_sandbox_stops_at_once("failed")


async def test_it_listens_on_loopback_only(sandbox: Sandbox) -> None:
    endpoints = [sandbox.smtp, sandbox.smtps, sandbox.pop3, sandbox.pop3s]
    ports = ports_of(sandbox)
    assert {endpoint.host for endpoint in endpoints} == {"localhost"}
    assert {port: host for port, host in listening().values() if port in ports} == dict.fromkeys(ports, "0100007F")


async def test_misbehaving_clients_do_no_harm(sandbox: Sandbox) -> None:
    def reset(client: RawClient) -> None:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with client:
            pass

    def talk() -> None:
        sandbox.maildrops[USER].add(b"x" * 1_000_000)
        for _ in range(3):
            client = smtp(sandbox)
            client.send(b"MAIL FROM:<scanner@example.com>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n" + b"x" * 50_000)
            reset(client)
            client = RawClient(sandbox, sandbox.smtp)
            client.execute("EHLO a")
            client.execute("STARTTLS")
            reset(client)
            client = RawClient(sandbox, sandbox.smtp)
            client.execute("EHLO a")
            client.execute("STARTTLS")
            client.send(b"this is no handshake\r\n")
            assert client.socket.recv(1) == b""
            reset(client)
            with RawClient(sandbox, sandbox.pop3) as client:
                client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n")
            with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", sandbox.pop3s.port)) as raw:
                ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")
            client = pop3(sandbox, "alice@example.com")
            client.send(b"QUIT\r\n" * 3)
            reset(client)
        client = pop3(sandbox)
        client.send(b"RETR 1\r\n")
        reset(client)
        with smtp(sandbox) as last:
            assert last.execute("NOOP").startswith("250")

    await in_thread(talk)
    assert sandbox.submissions == []


async def test_invalid_certificates_can_be_simulated(sandbox: Sandbox) -> None:
    def handshake() -> int:
        try:
            with RawClient(sandbox, sandbox.smtps):
                return 0
        except ssl.SSLCertVerificationError as error:
            return error.verify_code

    now = datetime.now(UTC)
    day = timedelta(days=1)
    assert await in_thread(handshake) == 0
    for code, context in {
        62: sandbox.authority.server_context("other.test"),
        10: sandbox.authority.server_context(not_before=now - 2 * day, not_after=now - day),
        9: sandbox.authority.server_context(not_before=now + day, not_after=now + 2 * day),
    }.items():
        sandbox.tls = context
        assert await in_thread(handshake) == code


async def test_two_sandboxes_run_side_by_side() -> None:
    async with run_sandbox() as one, run_sandbox(users={"Somebody@example.org": "x"}) as two:
        assert one.ca_pem != two.ca_pem
        assert set(two.maildrops) == {"somebody@example.org"}
        assert not {one.smtp.port, one.pop3.port} & {two.smtp.port, two.pop3.port}


async def test_an_internal_error_ends_one_connection_and_is_recorded(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    del sandbox.maildrops[USER]

    def talk() -> None:
        with RawClient(sandbox, sandbox.pop3s) as client, pop3(sandbox, "alice@example.com") as other:
            client.execute(f"USER {USER}")
            assert client.execute(f"PASS {PASSWORD}").startswith("-ERR [SYS/TEMP]")
            assert client.is_closed
            assert other.execute("NOOP").startswith("+OK")

    await in_thread(talk)
    assert isinstance(sandbox.errors.pop(), KeyError)
    assert PASSWORD not in caplog.text
    assert "The sandbox failed" in caplog.text

"""Hostile clients: large, slow and many requests, and clients without TLS."""

from __future__ import annotations

import hashlib
import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret
from mailslot_plugins.panel import admission, connections, server
from mailslot_plugins.panel.app import Panel
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security import limits
from mailslot_plugins.panel.security.password import Password
from panel.browser_client import BrowserClient, words
from panel.running_panel import PASSWORD, RunningPanel, run_panel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import trustme
    from anyio.abc import SocketStream

pytestmark = pytest.mark.virtual_time


@pytest.fixture(scope="module")
async def panel(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningPanel]:
    """A panel with less patience than usual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "IDLE_TIMEOUT", 0.5)
        patch.setattr(limits, "DEADLINE", 0.5)
        async with run_panel(tmp_path_factory.mktemp("panel")) as found:
            yield found


@asynccontextmanager
async def raw(panel: RunningPanel) -> AsyncGenerator[SocketStream]:
    host, _, port = panel.address.removeprefix("http://").rpartition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        yield stream


async def everything(stream: SocketStream, within: float = 8) -> bytes:
    octets = b""
    with anyio.fail_after(within):
        try:
            async for piece in stream:
                octets += piece
        except anyio.BrokenResourceError:
            pass
    return octets


def status(octets: bytes) -> int:
    return int(octets.split(b" ", 2)[1]) if octets else 0


async def test_a_large_form_is_refused(panel: RunningPanel) -> None:
    async with BrowserClient(panel.address) as client:
        token = await client.token()
        answer = await client.post("/sign-in", data={"csrf": token, "password": "x" * limits.MAX_BODY})
        assert (answer.status_code, "The request is larger than this page accepts." in words(answer)) == (413, True)

        async def without_length() -> AsyncGenerator[bytes]:
            for _ in range(80):
                yield b"x" * 1024

        answer = await client.post("/sign-in", content=without_length())
        assert answer.status_code == 413


async def test_an_endless_form_is_cut_off(panel: RunningPanel) -> None:
    sent = 0
    async with raw(panel) as stream:
        await stream.send(b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        with anyio.fail_after(120):
            try:
                while True:
                    await stream.send(b"x" * 65536)
                    sent += 65536
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
    # What the sockets between hold goes by unseen.
    assert sent < 300 * limits.MAX_BODY


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(9000)) + b"\r\n\r\n",
    ],
    ids=["header", "address", "headers"],
)
async def test_large_headers_are_refused(panel: RunningPanel, request_: bytes) -> None:
    async with raw(panel) as stream:
        await stream.send(request_)
        # 431, or 400 from h11, which does not tell which of both it was; or cut off while it is still sent.
        assert status(await everything(stream)) in {0, 400, 414, 431}


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n X: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /sign-in?next=/a\r\nX: y HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_malformed_requests(panel: RunningPanel, request_: bytes) -> None:
    """Requests that proxies and servers read differently, or that smuggle a line into an answer."""
    async with raw(panel) as stream:
        await stream.send(request_)
        octets = await everything(stream)
        assert 300 < status(octets) < 500
        assert b"\r\nX: y" not in octets


async def test_a_request_with_two_lengths_closes_the_connection(panel: RunningPanel) -> None:
    """To a proxy that goes by the other one, what follows is part of the body: it is somebody else's request."""
    async with raw(panel) as stream:
        await stream.send(
            b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 49\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /sign-in HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        octets = await everything(stream)
    assert status(octets) == 400
    assert octets.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in octets.lower()


async def test_header_injection_fails(panel: RunningPanel) -> None:
    async with raw(panel) as stream:
        await stream.send(
            b"GET /jobs?a=%0d%0aSet-Cookie:%20x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        octets = await everything(stream)
        assert status(octets) == 303
        assert octets.lower().count(b"\r\nset-cookie:") == 1
        assert b"set-cookie: x" not in octets.lower()


@pytest.mark.parametrize(
    "path",
    [
        "/administration/",
        "//administration",
        "/administration%3f",
        "/administration%23",
        "/%61dministration",
        "/static/../administration",
        "/static/%2e%2e/administration",
        "/static//administration",
        "/sign-in/../administration",
        "/sign-in%3f/../administration",
        "/healthz%3f/jobs",
        "/api/../administration",
        "/administration;a=b",
        "http://localhost/administration",
        "*",
    ],
)
async def test_no_spelling_of_a_path_bypasses_the_sign_in(panel: RunningPanel, path: str) -> None:
    async with raw(panel) as stream:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        await stream.send(request.encode())
        octets = await everything(stream)
        assert status(octets) in {303, 400, 401, 404}
        assert b"/administration/keys" not in octets


async def test_a_form_that_comes_octet_by_octet(panel: RunningPanel) -> None:
    async with raw(panel) as stream:
        await stream.send(b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n")
        async with anyio.create_task_group() as group:
            group.start_soon(trickle, stream)
            octets = await everything(stream)
            group.cancel_scope.cancel()
    assert status(octets) == 408
    assert b"did not arrive in time" in octets


async def test_headers_that_come_octet_by_octet(panel: RunningPanel) -> None:
    began = anyio.current_time()
    async with raw(panel) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        async with anyio.create_task_group() as group:
            group.start_soon(trickle, stream)
            assert await everything(stream) == b""
            group.cancel_scope.cancel()
    assert anyio.current_time() - began < 5


async def trickle(stream: SocketStream) -> None:
    try:
        while True:
            await stream.send(b"x")
            await anyio.sleep(0.05)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass


async def test_many_silent_connections(panel: RunningPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """They get no further than the bound, others are served meanwhile, and all are sent away in the end."""
    monkeypatch.setattr(admission, "MAX_CONNECTIONS", 12)
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(raw(panel)) for _ in range(40)]
        async with BrowserClient(panel.address) as client:
            assert (await client.get("/healthz")).status_code == 200
        async with anyio.create_task_group() as group:
            for stream in streams:
                group.start_soon(everything, stream)


async def test_websockets_are_refused(panel: RunningPanel) -> None:
    async with raw(panel) as stream:
        await stream.send(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert status(await everything(stream)) == 403


async def test_it_stops_despite_a_client_that_does_not_read(tmp_path: Path) -> None:
    """A browser that asks and asks, and reads nothing, does not keep the service from stopping."""
    async with run_panel(tmp_path) as panel:
        host, _, port = panel.address.removeprefix("http://").rpartition(":")
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await run_sync(reader.connect, (host, int(port)))
        reader.settimeout(0)
        try:
            while True:
                await anyio.wait_writable(reader)
                reader.send(b"GET /static/htmx.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
                with anyio.move_on_after(0.2) as full:
                    await anyio.wait_writable(reader)
                if full.cancelled_caught:
                    break
        finally:
            began = anyio.current_time()
    reader.close()
    assert anyio.current_time() - began < 6


async def test_it_stops_despite_a_silent_client(tmp_path: Path) -> None:
    """Not even the first octet of TLS, as of one who only looks which ports are open."""
    async with for_all(tmp_path) as (port, _):
        silent = await run_sync(socket.create_connection, ("127.0.0.1", port))
        async with BrowserClient(f"https://localhost:{port}", verify=trusting(tmp_path)) as client:
            # By now the silent one has been accepted, too.
            assert (await client.get("/healthz")).status_code == 200
        began = anyio.current_time()
    assert anyio.current_time() - began < 6
    silent.close()


def trusting(home: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(home / "panel" / "certificate.pem"))


@asynccontextmanager
async def for_all(home: Path) -> AsyncGenerator[tuple[int, str]]:
    """A panel on all addresses of this machine; yields its port, and the fingerprint that it tells."""
    await run_sync(Password(home).set, Secret(PASSWORD))
    with socket.create_server(("0.0.0.0", 0)) as listener:
        async with open_device(Records(home)) as device, anyio.create_task_group() as group:
            panel = Panel(device)
            result = await panel.announce(listener, terminal=False)
            group.start_soon(panel.serve, listener)
            yield listener.getsockname()[1], result[1].removesuffix(".").rpartition(" ")[2]
            group.cancel_scope.cancel()


async def test_remote_access_requires_tls(tmp_path: Path) -> None:
    async with for_all(tmp_path) as (port, fingerprint):
        shown = await run_sync(handshake, port)
        assert hashlib.sha256(shown["certificate"]).hexdigest().upper() == fingerprint.replace(":", "")
        assert shown["version"] == "TLSv1.3"
        # HTTP/2 has many streams on one connection, which would pass by the bounds on connections.
        assert shown["protocol"] == "http/1.1"
        async with BrowserClient(f"https://localhost:{port}", verify=trusting(tmp_path)) as client:
            await client.token()
            answer = await client.sign_in()
            assert answer.status_code == 303
            session, known = answer.headers.get_list("set-cookie")
            assert session.startswith(f"__Host-mailslot-{port}=")
            assert session.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
            assert known.startswith(f"__Host-mailslot-known-{port}=")
            assert known.endswith("; Max-Age=34560000; Path=/; HttpOnly; SameSite=Strict; Secure")
            # It made its certificate itself, and must not bind browsers to https for a year.
            assert "strict-transport-security" not in answer.headers
            page = await client.get("/administration")
            assert fingerprint in page.text
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            plain = await everything(stream)
            assert (status(plain), b"This device speaks https here" in plain) == (400, True)


def handshake(port: int) -> dict[str, Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", port), 120) as plain, context.wrap_socket(plain) as stream:
        return {
            "certificate": stream.getpeercert(binary_form=True),
            "version": stream.version(),
            "protocol": stream.selected_alpn_protocol(),
        }


async def test_an_own_certificate_and_its_replacement(
    tmp_path: Path, ca: trustme.CA, client_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers are told to come by https alone from then on; one that was renewed is used without a restart.

    A context that already has one is not changed: handshakes would fail between its certificate and its key.
    """
    monkeypatch.setattr(server, "_CHECK_INTERVAL", 0.05)
    loaded: list[ssl.SSLContext] = []
    load = ssl.SSLContext.load_cert_chain

    def noted(context: ssl.SSLContext, *arguments: Any, **options: Any) -> None:
        loaded.append(context)
        load(context, *arguments, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", noted)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def put(leaf: trustme.LeafCert) -> None:
        key.write_bytes(leaf.private_key_pem.bytes())
        chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    put(ca.issue_cert("localhost"))
    await run_sync(Records(tmp_path).settings.change_section, PANEL, {"certificate": str(chain), "key": str(key)})
    async with for_all(tmp_path) as (port, _):
        async with BrowserClient(f"https://localhost:{port}", verify=client_context) as client:
            answer = await client.get("/sign-in")
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        first = (await run_sync(handshake, port))["certificate"]
        put(ca.issue_cert("localhost"))
        with anyio.fail_after(120):
            while (await run_sync(handshake, port))["certificate"] == first:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.05)
    assert len(set(map(id, loaded))) == len(loaded) > 1


async def test_clients_that_fail_the_tls_handshake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence before or during the handshake times out; other protocols are closed; the next client is served."""
    monkeypatch.setattr(connections, "HANDSHAKE_TIMEOUT", 0.5)
    async with for_all(tmp_path) as (port, _):
        for words_ in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x05hello", b"\x00"):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                if words_:
                    await stream.send(words_)
                await everything(stream)
        assert (await run_sync(handshake, port))["version"] == "TLSv1.3"

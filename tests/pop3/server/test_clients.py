"""Clients that are not ours, each in a thread or a process of its own."""

from __future__ import annotations

import poplib
import re
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from mailslot import Security

from . import clients
from .memory import Memory, serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

MAILS = {
    1: b"From: a@example.com\r\nSubject: one\r\n\r\n.dot\r\n..\r\nend\r\n",
    2: b"From: a@example.com\r\nSubject: two\r\n\r\n" + b"line\r\n" * 30_000,
}
USER, PASSWORD = "fax", "open-sesame"


def memory(**changes: bool) -> Memory:
    return Memory(passwords={USER: PASSWORD}, mails=dict(MAILS), **changes)  # type: ignore[arg-type]  # they are


async def run(*command: str) -> bytes:
    with anyio.fail_after(120):
        result = await anyio.run_process(command, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr).decode()
    return result.stdout


def with_poplib(port: int, security: Security, context: ssl.SSLContext, talk: Callable[[poplib.POP3], None]) -> None:
    client = (
        poplib.POP3_SSL("localhost", port, timeout=60, context=context)
        if security is Security.TLS
        else poplib.POP3("localhost", port, timeout=60)
    )
    if security is Security.STARTTLS:
        client.stls(context=context)
    talk(client)


@pytest.mark.parametrize("security", Security)
@pytest.mark.parametrize("apop", [False, True])
async def test_poplib(
    security: Security, apop: bool, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    held = memory(apop=apop)

    def talk(client: poplib.POP3) -> None:
        assert "UIDL" in client.capa()
        if apop:
            client.apop(USER, PASSWORD)
        else:
            client.user(USER)
            client.pass_(PASSWORD)
        assert client.stat() == (2, sum(map(len, MAILS.values())))
        assert client.uidl()[1] == [b"1 u1", b"2 u2"]
        assert client.list(2) == f"+OK 2 {len(MAILS[2])}".encode()
        for number, mail in MAILS.items():
            assert b"\r\n".join([*client.retr(number)[1], b""]) == mail
        assert client.top(2, 1)[1][-2:] == [b"", b"line"]
        client.dele(2)
        client.rset()
        client.dele(1)
        client.noop()
        client.quit()

    async with serving(held, security, server_context) as server:
        await anyio.to_thread.run_sync(with_poplib, server.listener.port, security, client_context, talk)
        await held.until_ended()
    assert list(held.mails) == [2]
    assert held.retrieved == [1, 2]


@pytest.mark.parametrize("security", Security)
async def test_curl(security: Security, server_context: ssl.SSLContext) -> None:
    clients.needs("curl")
    held = memory()
    scheme = "pop3s" if security is Security.TLS else "pop3"
    options = ["--ssl-reqd"] if security is Security.STARTTLS else []
    async with serving(held, security, server_context) as server:
        url = f"{scheme}://localhost:{server.listener.port}/"
        command = ["curl", "-sS", "-k", *options, "--user", f"{USER}:{PASSWORD}"]
        assert (await run(*command, url)).split() == [b"1", b"%d" % len(MAILS[1]), b"2", b"%d" % len(MAILS[2])]
        assert await run(*command, f"{url}1") == MAILS[1]
        assert await run(*command, f"{url}2") == MAILS[2]
        assert (await run(*command, "-X", "UIDL", url)).split() == [b"1", b"u1", b"2", b"u2"]
        await run(*command, "-X", "DELE 1", "-I", url)
        await held.until_ended(5)
    assert list(held.mails) == [2]
    assert {connection.ending for connection in held.connections} == {"quit"}


async def test_curl_with_apop() -> None:
    clients.needs("curl")
    held = memory(apop=True)
    async with serving(held) as server:
        url = f"pop3://localhost:{server.listener.port}/1"
        assert await run("curl", "-sS", "--user", f"{USER}:{PASSWORD}", url) == MAILS[1]
        await held.until_ended()
    assert any(line.startswith("C: APOP fax •••") for line in held.connections[0].transcript.lines)


def delivered(path: Path) -> list[bytes]:
    """Return the subjects of the mails in an mbox file."""
    return re.findall(rb"^Subject: \w+", path.read_bytes(), re.MULTILINE)


@pytest.mark.parametrize("security", Security)
async def test_mpop(security: Security, server_context: ssl.SSLContext, tmp_path: Path) -> None:
    held = memory()
    box = tmp_path / "box"
    async with serving(held, security, server_context) as server:
        await run(*clients.mpop(server.listener.port, USER, PASSWORD, box, security))
        await held.until_ended()
    assert delivered(box) == [b"Subject: one", b"Subject: two"]
    assert held.mails == {}


@pytest.mark.parametrize("client", [clients.fetchmail, clients.getmail])
async def test_without_tls(client: Callable[[int, str, str, Path], list[str]], tmp_path: Path) -> None:
    held = memory()
    box = tmp_path / "box"
    async with serving(held) as server:
        await run(*client(server.listener.port, USER, PASSWORD, box))
        await held.until_ended()
    assert delivered(box) == [b"Subject: one", b"Subject: two"]
    assert held.mails == {}

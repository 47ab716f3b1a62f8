"""Clients that are not ours, each in a thread or a process of its own."""

from __future__ import annotations

import shutil
import smtplib
import ssl
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from mailslot import Security
from mailslot.smtp.server import replies

from .memory import Memory, serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.smtp.server.server import SmtpServer

MESSAGE = b"From: scanner@example.com\r\nSubject: scan\r\n\r\n.dots\r\n..\r\n" + b"line\r\n" * 3_000
USER, PASSWORD = "scan", "open sesame"

needs = {
    name: pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")
    for name in ("curl", "swaks", "msmtp", "smtp-source")
}


async def run(*command: str, content: bytes = b"") -> None:
    with anyio.fail_after(120):
        result = await anyio.run_process(command, input=content, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr).decode()


def with_smtplib(port: int, security: Security, context: ssl.SSLContext, talk: Callable[[smtplib.SMTP], None]) -> None:
    opened = (
        smtplib.SMTP_SSL("localhost", port, timeout=60, context=context)
        if security is Security.TLS
        else smtplib.SMTP("localhost", port, timeout=60)
    )
    with opened as smtp:
        if security is Security.STARTTLS:
            smtp.starttls(context=context)
        talk(smtp)


def memory() -> Memory:
    return Memory(passwords={USER: PASSWORD}, sign_in_demanded=True)


@pytest.mark.parametrize("security", Security)
async def test_smtplib(security: Security, server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    taken = memory()

    def talk(smtp: smtplib.SMTP) -> None:
        smtp.login(USER, PASSWORD)
        assert smtp.has_extn("8bitmime")
        assert int(smtp.esmtp_features["size"]) == taken.max_size
        assert smtp.sendmail("scanner@example.com", ["a@example.com", "b@example.com"], MESSAGE) == {}
        assert smtp.noop()[0] == 250
        assert smtp.verify("a@example.com")[0] == 252
        assert smtp.sendmail("", ["a@example.com"], b"x") == {}

    async with serving(taken, security, server_context) as server:
        await anyio.to_thread.run_sync(with_smtplib, server.listener.port, security, client_context, talk)
    assert [(each.sender, each.recipients) for each in taken.stored] == [
        ("scanner@example.com", ["a@example.com", "b@example.com"]),
        ("", ["a@example.com"]),
    ]
    assert taken.stored[0].content == MESSAGE


async def test_smtplib_by_login_and_refused(client_context: ssl.SSLContext) -> None:
    taken = memory()
    taken.refused["b@example.com"] = replies.RECIPIENT_NOT_ALLOWED

    def talk(smtp: smtplib.SMTP) -> None:
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            smtp.sendmail("scanner@example.com", ["a@example.com"], MESSAGE)
        assert caught.value.smtp_code == 530
        smtp.user, smtp.password = USER, "wrong"
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            smtp.auth("LOGIN", smtp.auth_login)
        assert refused.value.smtp_code == 535
        smtp.password = PASSWORD
        smtp.auth("LOGIN", smtp.auth_login, initial_response_ok=False)
        result = smtp.sendmail("scanner@example.com", ["a@example.com", "b@example.com"], MESSAGE)
        assert result == {"b@example.com": (550, b"5.7.1 This device may not send to this address")}

    async with serving(taken) as server:
        await anyio.to_thread.run_sync(with_smtplib, server.listener.port, Security.NONE, client_context, talk)
    assert [each.recipients for each in taken.stored] == [["a@example.com"]]


async def serve_and_run(
    security: Security, context: ssl.SSLContext, command: Callable[[SmtpServer], list[str]], content: bytes = b""
) -> Memory:
    taken = memory()
    async with serving(taken, security, context) as server:
        await run(*command(server), content=content)
    return taken


@needs["curl"]
@pytest.mark.parametrize("security", Security)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_curl(security: Security, mechanism: str, server_context: ssl.SSLContext) -> None:
    scheme = "smtps" if security is Security.TLS else "smtp"
    options = ["--ssl-reqd"] if security is Security.STARTTLS else []
    taken = await serve_and_run(
        security,
        server_context,
        lambda server: [
            "curl", "-sS", "-k", *options, f"{scheme}://localhost:{server.listener.port}/copier",
            "--login-options", f"AUTH={mechanism}", "--user", f"{USER}:{PASSWORD}",
            "--mail-from", "scanner@example.com", "--mail-rcpt", "a@example.com", "--mail-rcpt", "b@example.com",
            "--upload-file", "-",
        ],
        MESSAGE,
    )  # fmt: skip
    (stored,) = taken.stored
    assert stored.content == MESSAGE
    assert stored.recipients == ["a@example.com", "b@example.com"]
    assert stored.connection.hello == "copier"
    assert stored.connection.user == USER


@needs["swaks"]
@pytest.mark.parametrize("security", Security)
async def test_swaks(security: Security, server_context: ssl.SSLContext) -> None:
    options = {Security.NONE: [], Security.STARTTLS: ["--tls"], Security.TLS: ["--tls-on-connect"]}[security]
    taken = await serve_and_run(
        security,
        server_context,
        lambda server: [
            "swaks", "--server", "127.0.0.1", "--port", str(server.listener.port), *options, "--auth", "LOGIN",
            "--auth-user", USER, "--auth-password", PASSWORD, "--from", "scanner@example.com",
            "--to", "a@example.com", "--pipeline",
        ],
    )  # fmt: skip
    assert taken.stored[0].recipients == ["a@example.com"]


@needs["msmtp"]
async def test_msmtp() -> None:
    taken = await serve_and_run(
        Security.NONE,
        ssl.create_default_context(),
        lambda server: [
            "msmtp", "--host=127.0.0.1", f"--port={server.listener.port}", "--auth=plain", f"--user={USER}",
            f"--passwordeval=echo {PASSWORD}", "--from=scanner@example.com", "a@example.com",
        ],
        MESSAGE.replace(b"\r\n", b"\n"),
    )  # fmt: skip
    # It adds a Date.
    assert taken.stored[0].content.endswith(MESSAGE)


@needs["smtp-source"]
@pytest.mark.parametrize("arguments", [(), ("-N",), ("-d",)], ids=["a connection each", "prepended", "one connection"])
async def test_smtp_source(arguments: tuple[str, ...], server_context: ssl.SSLContext) -> None:
    taken = Memory()
    async with serving(taken, Security.NONE, server_context) as server:
        await run(
            "smtp-source", *arguments, "-s", "5", "-m", "50", "-l", "20000", "-f", "scanner@example.com",
            "-t", "a@example.com", f"127.0.0.1:{server.listener.port}",
        )  # fmt: skip
    assert len(taken.stored) == 50
    assert len({each.content[-2_000:] for each in taken.stored}) == 1


async def test_a_thousand_connections_with_a_handful_at_once(server_context: ssl.SSLContext) -> None:
    taken = Memory()
    limiter = anyio.CapacityLimiter(15)

    async def one(port: int) -> None:
        async with limiter:
            stream = await anyio.connect_tcp("127.0.0.1", port)
            async with stream:
                received = b""
                await stream.send(b"HELO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n")
                while received.count(b"\n") < 4:
                    received += await stream.receive()
                await stream.send(b"BDAT 3 LAST\r\nx\r\nQUIT\r\n")
                while b"221 " not in received:
                    received += await stream.receive()

    async with serving(taken, Security.NONE, server_context) as server, anyio.create_task_group() as group:
        for _ in range(1_000):
            group.start_soon(partial(one, server.listener.port))
    assert len(taken.stored) == 1_000
    assert all(each.ending == "quit" for each in taken.connections)

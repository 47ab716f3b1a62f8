"""Faults at every moment: what the client receives, and what the server does."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Literal

import pytest

from mailslot_plugins.sandbox import DOVECOT, Fault, Sandbox
from sandbox.raw_client import USER, RawClient, in_thread, oauthbearer, pop3, smtp

MESSAGE = b"Subject: a\r\n\r\nb\r\n"
ENVELOPE = b"MAIL FROM:<scanner@example.com>\r\nRCPT TO:<alice@example.com>\r\n"


def submit(client: RawClient) -> None:
    client.send(ENVELOPE + b"DATA\r\n")
    for code in ("250", "250", "354"):
        assert client.line().startswith(code)
    client.send(MESSAGE + b".\r\n")


async def test_faults_delay_replace_append_and_split(sandbox: Sandbox) -> None:
    sandbox.faults += [
        Fault("NOOP", 1, delay=0.2),
        Fault("NOOP", 2, replace=b"299 what\r\n"),
        Fault("NOOP", 3, append=b"250 more\r\n"),
        Fault("NOOP", 4, split=True),
        Fault("NOOP", 5, keep=5),
        Fault("MAIL", act=False, replace=b"250 2.1.0 pretended\r\n"),
    ]

    def talk() -> None:
        with smtp(sandbox) as client:
            before = time.monotonic()
            assert client.execute("NOOP") == "250 2.0.0 Done"
            assert time.monotonic() - before >= 0.2
            assert client.execute("NOOP") == "299 what"
            assert client.execute("NOOP") == "250 2.0.0 Done"
            assert client.line() == "250 more"
            client.send(b"NOOP\r\n")
            # Each octet is a record of its own.
            assert [client.socket.recv(65536) for _ in range(16)] == [bytes([o]) for o in b"250 2.0.0 Done\r\n"]
            client.send(b"NOOP\r\nQUIT\r\n")
            assert client.line() == "250 2221 2.0.0 Bye"
        with smtp(sandbox) as client:
            assert client.execute("MAIL FROM:<scanner@example.com>") == "250 2.1.0 pretended"
            assert client.execute("RCPT TO:<alice@example.com>").startswith("503")

    await in_thread(talk)
    assert "299" not in sandbox.transcript


STEPS = [
    ("EHLO", b"EHLO a\r\n"),
    ("NOOP", b"NOOP\r\n"),
    ("MAIL", b"MAIL FROM:<scanner@example.com>\r\n"),
    ("RCPT", b"RCPT TO:<alice@example.com>\r\n"),
    ("DATA", b"DATA\r\n"),
    ("message", MESSAGE + b".\r\n"),
    ("QUIT", b"QUIT\r\n"),
]
OPEN = replace(DOVECOT, tls_required=False, sign_in_required=None)


@pytest.mark.parametrize("keep", [0, 2])
@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("moment", [moment for moment, _ in STEPS])
@pytest.mark.parametrize("personality", [OPEN], ids=[""])
async def test_a_connection_can_end_in_any_reply(
    sandbox: Sandbox, moment: str, ending: Literal["close", "reset"], keep: int
) -> None:
    sandbox.faults.append(Fault(moment, connection=2, keep=keep, ending=ending))

    def walk(until: str) -> bytes:
        with RawClient(sandbox, sandbox.smtp) as client:
            for step, octets in STEPS:
                client.send(octets)
                if step == until:
                    break
                client.reply()
            if not until:
                return b""
            data = client.file.read(keep)
            if ending == "close":
                return data + client.file.read()
            with pytest.raises(ConnectionResetError):
                client.file.read()
            return data

    await in_thread(walk, "")
    assert len(await in_thread(walk, moment)) == keep
    # What was asked for is done before its answer is cut: the message is there, though nobody heard so.
    assert len(sandbox.submissions) == (2 if moment in {"message", "QUIT"} else 1)
    assert "a fault cuts the answer" in str(sandbox.dialogues[1])


@pytest.mark.parametrize("act", [True, False])
async def test_a_reply_lost_before_or_after_the_action(sandbox: Sandbox, act: bool) -> None:
    sandbox.faults += [
        Fault("message", act=act, keep=0, ending="close"),
        Fault("QUIT", protocol="pop3", act=act, keep=0, ending="close"),
    ]
    sandbox.maildrops[USER].add(MESSAGE)

    def talk() -> None:
        with smtp(sandbox) as client:
            submit(client)
            assert client.is_closed
        with pop3(sandbox) as client:
            client.execute("DELE 1")
            client.send(b"QUIT\r\n")
            assert client.is_closed

    await in_thread(talk)
    assert len(sandbox.submissions) == act
    assert len(sandbox.maildrops[USER].messages) == (not act)


async def test_quit_with_a_wrong_reply_still_closes(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault("QUIT", replace=b"-ERR some deleted messages not removed\r\n"))

    def talk() -> None:
        with pop3(sandbox) as client:
            assert client.execute("QUIT") == "-ERR some deleted messages not removed"
            assert client.is_closed

    await in_thread(talk)


@pytest.mark.parametrize("protocol", ["smtp", "pop3"])
async def test_octets_injected_before_tls(sandbox: Sandbox, protocol: str) -> None:
    command = "STARTTLS" if protocol == "smtp" else "STLS"
    sandbox.faults.append(Fault(command, append=b"250 injected\r\n"))

    def talk() -> bytes:
        with RawClient(sandbox, getattr(sandbox, protocol)) as client:
            if protocol == "smtp":
                client.execute("EHLO a")
            client.send(command.encode() + b"\r\n")
            return client.socket.recv(65536)

    data = await in_thread(talk)
    assert len(data.splitlines()) == 2
    assert data.endswith(b"250 injected\r\n")


@pytest.mark.parametrize("protocol", ["smtp", "pop3"])
async def test_faults_during_authentication(sandbox: Sandbox, protocol: str) -> None:
    start, no = ("334 ", b"535 5.7.139 disabled\r\n") if protocol == "smtp" else ("+ ", b"-ERR [SYS/PERM] disabled\r\n")
    sandbox.faults += [
        Fault("challenge", 1, replace=start.encode() + b"====\r\n"),
        Fault("sign_in", 1, act=False, replace=no),
        Fault("AUTH", 2, act=False, replace=no),
    ]
    token = sandbox.provider.issue(USER).value.reveal()
    endpoint = getattr(sandbox, f"{protocol}s")

    def talk() -> None:
        with RawClient(sandbox, endpoint) as client:
            if protocol == "smtp":
                client.execute("EHLO a")
            assert client.execute("AUTH OAUTHBEARER") == start + "===="
            assert client.execute(oauthbearer(token, endpoint.port)) == no.decode().strip()
            assert client.execute("AUTH OAUTHBEARER") == no.decode().strip()
            assert client.execute("AUTH OAUTHBEARER") == start

    await in_thread(talk)
    assert sandbox.dialogues[0].user is None


async def test_a_tls_handshake_that_never_happens(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault("TLS", delay=math.inf))

    def talk() -> None:
        client = RawClient(sandbox, sandbox.smtp)
        with client:
            client.execute("EHLO a")
            client.execute("STARTTLS")
            client.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.start_tls()

    await in_thread(talk)


async def test_a_truncated_retrieval(sandbox: Sandbox) -> None:
    sandbox.maildrops[USER].add(b"x" * 300_000 + b"\r\n")
    sandbox.faults.append(Fault("RETR", keep=100_000, ending="close"))

    def talk() -> bytes:
        with pop3(sandbox) as client:
            client.send(b"RETR 1\r\n")
            return client.file.read()

    assert len(await in_thread(talk)) == 100_000


async def test_the_first_matching_fault_applies(sandbox: Sandbox) -> None:
    sandbox.faults += [
        Fault("NOOP", protocol="pop3", replace=b"+OK pop3\r\n"),
        Fault("NOOP", connection=2, replace=b"250 second\r\n"),
        Fault("NOOP", replace=b"250 other\r\n"),
    ]

    def talk() -> list[str]:
        answers: list[str] = []
        for connect in (smtp, smtp, pop3):
            with connect(sandbox) as client:
                answers.append(client.execute("NOOP"))
        return answers

    assert await in_thread(talk) == ["250 other", "250 second", "+OK pop3"]

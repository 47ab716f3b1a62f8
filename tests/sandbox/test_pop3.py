"""The POP3 server, tested with poplib and raw octets."""

from __future__ import annotations

import poplib
import time
from dataclasses import replace

import pytest

from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Sandbox
from sandbox.raw_client import PASSWORD, USER, RawClient, in_thread, pop3

FIRST = b"Subject: one\r\n\r\n.\r\n..\r\n.dot\r\nlast\r\n"
SECOND = b"Subject: two\r\n\r\nno end"


def fill(sandbox: Sandbox) -> None:
    sandbox.maildrops[USER].add(FIRST)
    sandbox.maildrops[USER].add(SECOND, "a-uid~!")


def contents(sandbox: Sandbox) -> list[bytes]:
    return [message.content for message in sandbox.maildrops[USER].messages]


@pytest.mark.parametrize("tls", [True, False])
async def test_poplib_fetches_and_deletes(sandbox: Sandbox, tls: bool) -> None:
    fill(sandbox)

    def fetch() -> None:
        context = sandbox.client_context()
        if tls:
            client: poplib.POP3 = poplib.POP3_SSL("localhost", sandbox.pop3s.port, timeout=120, context=context)
        else:
            client = poplib.POP3("localhost", sandbox.pop3.port, timeout=120)
            assert "STLS" in client.capa()
            client.stls(context)
        assert client.capa()["SASL"] == ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-256"]
        client.user(USER.upper())
        client.pass_(PASSWORD)
        assert "SASL" not in client.capa()
        assert client.stat() == (2, len(FIRST) + len(SECOND) + 2)
        assert client.list()[1] == [b"1 %d" % len(FIRST), b"2 %d" % (len(SECOND) + 2)]
        assert client.list(2) == b"+OK 2 %d" % (len(SECOND) + 2)
        assert client.uidl()[1] == [b"1 00000001", b"2 a-uid~!"]
        assert client.uidl(2) == b"+OK 2 a-uid~!"
        assert b"\r\n".join([*client.retr(1)[1], b""]) == FIRST
        assert client.retr(2)[1] == SECOND.split(b"\r\n")
        assert client.top(1, 2)[1] == [b"Subject: one", b"", b".", b".."]
        assert client.top(1, 0)[1] == [b"Subject: one", b""]
        client.dele(1)
        assert client.stat()[0] == 1
        assert client.list()[1] == [b"2 %d" % (len(SECOND) + 2)]
        with pytest.raises(poplib.error_proto, match="no such message"):
            client.retr(1)
        client.noop()
        client.quit()

    await in_thread(fetch)
    assert contents(sandbox) == [SECOND]
    assert [message.content for message in sandbox.maildrops[USER].removed] == [FIRST]
    assert sandbox.violations == []


@pytest.mark.parametrize("end", ["RSET", "close", "QUIT"])
async def test_nothing_is_deleted_before_quit(sandbox: Sandbox, end: str) -> None:
    fill(sandbox)

    def talk() -> None:
        with pop3(sandbox) as client:
            client.execute("DELE 1")
            assert client.execute("STAT") == f"+OK 1 {len(SECOND) + 2}"
            if end == "RSET":
                client.execute("RSET")
                assert client.execute("STAT").startswith("+OK 2")
                client.execute("QUIT")
            elif end == "QUIT":
                assert len(contents(sandbox)) == 2
                client.execute("QUIT")

    await in_thread(talk)
    assert contents(sandbox) == ([SECOND] if end == "QUIT" else [FIRST, SECOND])


async def test_mail_that_arrives_during_a_session_is_in_the_next(sandbox: Sandbox) -> None:
    fill(sandbox)

    def talk() -> None:
        with pop3(sandbox) as client:
            sandbox.maildrops[USER].add(FIRST)
            assert client.execute("STAT").startswith("+OK 2 ")
            client.execute("DELE 1")
            client.execute("QUIT")
        with pop3(sandbox) as client:
            assert client.execute("STAT").startswith("+OK 2 ")

    await in_thread(talk)
    assert contents(sandbox) == [SECOND, FIRST]


async def test_a_maildrop_is_locked_by_one_session(sandbox: Sandbox) -> None:
    fill(sandbox)

    def sign_in() -> str:
        with RawClient(sandbox, sandbox.pop3s) as second:
            second.execute(f"USER {USER}")
            return second.execute(f"PASS {PASSWORD}")

    def talk() -> None:
        with pop3(sandbox) as client:
            assert sign_in() == "-ERR [IN-USE] Mailbox is locked by another POP3 session."
            with pop3(sandbox, "alice@example.com") as other:
                assert other.execute("STAT") == "+OK 0 0"
            client.execute("QUIT")
            assert sign_in().startswith("+OK")

    await in_thread(talk)


async def test_disconnecting_releases_the_lock(sandbox: Sandbox) -> None:
    def talk() -> None:
        with pop3(sandbox):
            assert sandbox.maildrops[USER].locked
        for _ in range(6_000):
            if not sandbox.maildrops[USER].locked:
                break
            time.sleep(0.02)
        with pop3(sandbox) as client:
            assert client.execute("NOOP").startswith("+OK")

    await in_thread(talk)


@pytest.mark.parametrize("personality", [replace(DOVECOT, login_delay=60.0)], ids=[""])
async def test_a_poll_may_come_too_soon(sandbox: Sandbox) -> None:
    def talk() -> None:
        with pop3(sandbox) as client:
            client.execute("QUIT")
        with RawClient(sandbox, sandbox.pop3s) as client:
            client.execute(f"USER {USER}")
            assert client.execute(f"PASS {PASSWORD}").startswith("-ERR [LOGIN-DELAY]")

    await in_thread(talk)


@pytest.mark.parametrize("personality", [GMAIL], ids=["GMAIL"])
@pytest.mark.parametrize(("end", "left"), [("QUIT", [SECOND]), ("", [FIRST, SECOND])])
async def test_gmail_hides_retrieved_messages(sandbox: Sandbox, end: str, left: list[bytes]) -> None:
    fill(sandbox)

    def talk() -> None:
        with pop3(sandbox) as client:
            client.execute_multiline("TOP 2 0")
            client.execute_multiline("RETR 1")
            if end:
                client.execute(end)

    await in_thread(talk)
    assert contents(sandbox) == left


async def test_a_big_message_arrives_octet_for_octet(sandbox: Sandbox) -> None:
    content = b"Subject: big\r\n\r\n" + b"".join(b".%07d\r\n" % number for number in range(800_000))
    sandbox.maildrops[USER].add(content)

    def talk() -> bytes:
        with pop3(sandbox) as client:
            client.execute("RETR 1")
            data = client.file.read(len(content) + 800_000 + 3)
            assert client.execute("NOOP").startswith("+OK")
            return data

    data = await in_thread(talk)
    assert data == content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


async def test_pipelining(sandbox: Sandbox) -> None:
    fill(sandbox)

    def talk() -> None:
        with pop3(sandbox) as client:
            client.send(b"STAT\r\nDELE 1\r\nRETR 1\r\nUIDL 2\r\nQUIT\r\n")
            answers = client.socket.recv(65536)
            assert [line[:4] for line in answers.split(b"\r\n")] == [b"+OK ", b"+OK ", b"-ERR", b"+OK ", b"+OK ", b""]

    await in_thread(talk)
    assert sandbox.violations == []


async def test_commands_before_tls(sandbox: Sandbox) -> None:
    def talk() -> None:
        with RawClient(sandbox, sandbox.pop3) as client:
            offers = client.execute_multiline("CAPA")
            assert "STLS" in offers
            assert "USER" not in offers
            for command in ("AUTH XOAUTH2", f"USER {USER}"):
                assert client.execute(command) == "-ERR [AUTH] Plaintext authentication disabled."
            assert client.execute(f"PASS {PASSWORD}").startswith("-ERR")
            assert client.execute("STLS").startswith("+OK")
            client.start_tls()
            assert "STLS" not in client.execute_multiline("CAPA")
            assert client.execute("STLS").startswith("-ERR")
            assert client.execute("STAT").startswith("-ERR")

    await in_thread(talk)


async def test_octets_after_stls_end_the_connection(sandbox: Sandbox) -> None:
    def talk() -> None:
        with RawClient(sandbox, sandbox.pop3) as client:
            client.send(b"STLS\r\nCAPA\r\n")
            assert client.line().startswith("-ERR")
            assert client.is_closed

    await in_thread(talk)
    assert "something was sent behind STLS before it was answered" in sandbox.violations


async def test_a_bare_lf_ends_the_connection(sandbox: Sandbox) -> None:
    def talk() -> None:
        with pop3(sandbox) as client:
            client.send(b"DELE 1\nQUIT\r\n")
            assert client.line().startswith("-ERR")
            assert client.is_closed

    await in_thread(talk)


@pytest.mark.parametrize("personality", [EXCHANGE], ids=["EXCHANGE"])
async def test_limits_of_a_server_without_pipelining(sandbox: Sandbox) -> None:
    def talk() -> None:
        with pop3(sandbox) as client:
            assert client.execute("NOOP " + "x" * 248) == "-ERR This command has no argument"
            assert client.execute("NOOP " + "x" * 249) == "-ERR Command line too long."
            client.send(b"NOOP\r\nNOOP\r\n")
            assert [client.line()[:3], client.line()[:3]] == ["+OK", "+OK"]

    await in_thread(talk)
    assert sandbox.violations == ["something was sent behind NOOP before it was answered"]

"""The submission server, tested with smtplib and raw octets."""

from __future__ import annotations

import smtplib
from dataclasses import replace

import pytest

from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Sandbox
from sandbox.raw_client import PASSWORD, USER, RawClient, in_thread, smtp

MESSAGE = b"From: a\r\nSubject: b\r\n\r\n.\r\n..\r\n.dot\r\n\r\nlast\r\n"
ENVELOPE = b"MAIL FROM:<scanner@example.com>\r\nRCPT TO:<alice@example.com>\r\n"


def limited(limits: str) -> object:
    """Return Dovecot's personality with limits (RFC 9422)."""
    behavior = DOVECOT.smtp
    return replace(DOVECOT, smtp=replace(behavior, capabilities_tls=(*behavior.capabilities_tls, f"LIMITS {limits}")))


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("initial", [True, False])
async def test_smtplib_submits(sandbox: Sandbox, mechanism: str, initial: bool) -> None:
    def submit() -> None:
        with smtplib.SMTP("localhost", sandbox.smtp.port, timeout=120) as client:
            client.starttls(context=sandbox.client_context())
            client.ehlo()
            client.user, client.password = USER, PASSWORD
            authenticate = client.auth_plain if mechanism == "PLAIN" else client.auth_login
            assert client.auth(mechanism, authenticate, initial_response_ok=initial)[0] == 235
            assert client.sendmail(USER, ["Alice@EXAMPLE.com", "out@example.org"], MESSAGE) == {}

    await in_thread(submit)
    (submission,) = sandbox.submissions
    assert submission.content == MESSAGE
    assert submission.sender.address == submission.user == USER
    assert [path.address for path in submission.recipients] == ["Alice@EXAMPLE.com", "out@example.org"]
    assert [stored.content for stored in sandbox.maildrops["alice@example.com"].messages] == [MESSAGE]
    assert sandbox.violations == []
    assert sandbox.dialogues[0].user == USER
    assert sandbox.dialogues[0].tls


async def test_smtplib_sees_a_partial_refusal(sandbox: Sandbox) -> None:
    sandbox.rules.recipients = {"no@example.com": "550 5.1.1 No such user", "full@example.com": "452 4.2.2 Full"}

    def submit() -> object:
        with smtplib.SMTP_SSL("localhost", sandbox.smtps.port, timeout=120, context=sandbox.client_context()) as client:
            client.login(USER, PASSWORD)
            return client.sendmail(USER, ["No@example.com", "alice@example.com", "full@example.com"], MESSAGE)

    refused = await in_thread(submit)
    assert {address: code for address, (code, _) in refused.items()} == {
        "No@example.com": 550,
        "full@example.com": 452,
    }
    assert [path.address for path in sandbox.submissions[0].recipients] == ["alice@example.com"]


@pytest.mark.parametrize("which", ["senders", "content"])
async def test_rules_refuse_sender_and_content(sandbox: Sandbox, which: str) -> None:
    if which == "senders":
        sandbox.rules.senders[USER] = "550 5.1.8 Bad sender"
    else:
        sandbox.rules.content = "554 5.6.0 Bad content"

    def submit() -> None:
        with smtplib.SMTP_SSL("localhost", sandbox.smtps.port, timeout=120, context=sandbox.client_context()) as client:
            client.login(USER, PASSWORD)
            with pytest.raises((smtplib.SMTPSenderRefused, smtplib.SMTPDataError)):
                client.sendmail(USER, ["alice@example.com"], MESSAGE)

    await in_thread(submit)
    assert sandbox.submissions == []
    assert sandbox.maildrops["alice@example.com"].messages == []


async def test_starttls_is_required_and_resets_the_session(sandbox: Sandbox) -> None:
    def talk() -> None:
        with RawClient(sandbox, sandbox.smtp) as client:
            assert "250-STARTTLS" in (offers := client.execute("EHLO a")).split("\n")
            assert "AUTH" not in offers
            assert client.execute("MAIL FROM:<scanner@example.com>").startswith("530 5.7.0")
            assert client.execute("AUTH PLAIN AGEAYg==").startswith("530 5.7.0")
            assert client.execute("STARTTLS").startswith("220")
            client.start_tls()
            assert client.execute("MAIL FROM:<scanner@example.com>").startswith("250")
            assert client.execute("RSET").startswith("250")
            offers = client.execute("EHLO a")
            assert "250-AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER SCRAM-SHA-256" in offers.split("\n")
            assert "STARTTLS" not in offers
            assert client.execute("STARTTLS").startswith("503")

    await in_thread(talk)
    # The server takes it, since old clients do it; a new one must not.
    assert sandbox.violations == ["a sign-in by a mechanism that was not offered", "MAIL before EHLO inside TLS"]


async def test_octets_after_starttls_end_the_connection(sandbox: Sandbox) -> None:
    def talk() -> None:
        with RawClient(sandbox, sandbox.smtp) as client:
            client.execute("EHLO a")
            client.send(b"STARTTLS\r\nEHLO b\r\n")
            assert client.line().startswith("554")
            assert client.is_closed

    await in_thread(talk)
    assert sandbox.violations == ["something was sent behind STARTTLS before it was answered"]


async def test_pipelined_commands_get_their_replies_in_one_packet(sandbox: Sandbox) -> None:
    def talk() -> bytes:
        with smtp(sandbox) as client:
            client.send(ENVELOPE + b"RCPT TO:<bad>\r\nDATA\r\n")
            answers = client.socket.recv(65536)
            # The next transaction may follow the dot in the same group (RFC 2920 section 3.1).
            client.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n" + ENVELOPE + b"RSET\r\nQUIT\r\n")
            for code in ("250", "250", "250", "250", "221"):
                assert client.line().startswith(code)
            return answers

    answers = await in_thread(talk)
    assert [line[:3] for line in answers.splitlines()] == [b"250", b"250", b"501", b"354"]
    assert sandbox.submissions[0].content == MESSAGE
    assert sandbox.violations == []


@pytest.mark.parametrize("step", [1, 10_000])
async def test_only_crlf_dot_crlf_ends_a_message(sandbox: Sandbox, step: int) -> None:
    smuggled = b"a\n.\r\nb\r.\r\nc\r\n.\nd\n.\n..\r\n..e\r\n"

    def talk() -> None:
        with smtp(sandbox) as client:
            client.send(ENVELOPE + b"DATA\r\n")
            for code in ("250", "250", "354"):
                assert client.line().startswith(code)
            data = smuggled + b".\r\n"
            for start in range(0, len(data), step):
                client.send(data[start : start + step])
            assert client.line().startswith("250")
            assert client.execute("NOOP").startswith("250")

    await in_thread(talk)
    (submission,) = sandbox.submissions
    # Dots are taken away behind CRLF alone, and nothing else is changed.
    assert submission.content == b"a\n.\r\nb\r.\r\nc\r\n\nd\n.\n..\r\n.e\r\n"
    assert submission.violations == ["a bare LF", "a bare CR"]


@pytest.mark.parametrize(
    ("parameters", "content", "violations"),
    [
        ("SIZE=6", b"four\r\n", []),
        ("SIZE=5", b"four\r\n", ["SIZE=5, but 6 octets came"]),
        ("", "ü\r\n".encode(), ["8-bit octets without BODY=8BITMIME or SMTPUTF8"]),
        ("BODY=8BITMIME", "ü\r\n".encode(), []),
        ("", b"\0\r\n", ["a NUL"]),
        ("", b"x" * 998 + b"\r\n", []),
        ("", b"x" * 999 + b"\r\n", ["a line of over 998 octets"]),
        ("", b"", []),
    ],
)
async def test_violations_in_a_message_are_recorded(
    sandbox: Sandbox, parameters: str, content: bytes, violations: list[str]
) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            assert client.execute(f"MAIL FROM:<scanner@example.com> {parameters}".strip()).startswith("250")
            client.execute("RCPT TO:<alice@example.com>")
            client.execute("DATA")
            client.send(content + b".\r\n")
            assert client.line().startswith("250")

    await in_thread(talk)
    assert sandbox.submissions[0].content == content
    assert sandbox.violations == violations


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("MAIL FROM:<scanner@example.com>", "250 2.1.0"),
        ("mail from:<scanner@example.com> size=100 body=8bitmime ret=hdrs envid=a+2Bb", "250 2.1.0"),
        ("MAIL FROM:<>", "250 2.1.0"),
        ('MAIL FROM:<"a b\\"@>"@example.com>', "250 2.1.0"),
        ("MAIL FROM:<a@[127.0.0.1]>", "250 2.1.0"),
        ("MAIL FROM:<grün@example.com> SMTPUTF8", "250 2.1.0"),
        ("MAIL FROM:<grün@example.com>", "553 5.6.7"),
        ("MAIL FROM: <scanner@example.com>", "501"),
        ("MAIL FROM:<scanner@example.com >", "501"),
        ("MAIL FROM:scanner@example.com", "501"),
        ("MAIL FROM:<scanner>", "501"),
        ("MAIL FROM:<a@b>  SIZE=1", "501"),
        (f"MAIL FROM:<{'x' * 65}@example.com>", "501"),
        ("MAIL FROM:<a@b> SIZE=", "501"),
        ("MAIL FROM:<a@b> SIZE=1x", "501"),
        ("MAIL FROM:<a@b> SIZE=1 SIZE=1", "501"),
        ("MAIL FROM:<a@b> BODY=9BIT", "501"),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", "555"),
        ("MAIL FROM:<a@b> SMTPUTF8=1", "501"),
        ("MAIL FROM:<a@b> RET=ALL", "501"),
        ("MAIL FROM:<a@b> ENVID=a=b", "501"),
        ("MAIL FROM:<a@b> ENVID=a+b", "501"),
        ("MAIL FROM:<a@b> NOTIFY=NEVER", "555"),
        ("MAIL FROM:<a@b> REQUIRETLS", "555"),
        ("MAIL FROM:<a@b> AUTH=<>", "555"),
        ("MAIL FROM:<a@b> HOLDFOR=1", "555"),
        ("MAIL FROM:<a@b> SIZE=104857601", "552 5.3.4"),
        ("RCPT TO:<a@b>", "503"),
        ("DATA", "503"),
        ("AUTH XOAUTH2", "503"),
        ("XYZZY", "500"),
    ],
)
async def test_mail_is_read_strictly(sandbox: Sandbox, command: str, code: str) -> None:
    def talk() -> str:
        with smtp(sandbox) as client:
            return client.execute(command)

    assert (await in_thread(talk)).startswith(code)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("NOTIFY=NEVER", "250"),
        ("NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;alice+40example.com", "250"),
        ("NOTIFY=NEVER,DELAY", "501"),
        ("NOTIFY=DELAY,delay", "501"),
        ("NOTIFY=", "501"),
        ("NOTIFY=SOMETIMES", "501"),
        ("ORCPT=alice@example.com", "501"),
        ("ORCPT=rfc822;a=b", "501"),
        ("ORCPT=rfc822;a+2b", "501"),
        ("SIZE=1", "555"),
    ],
)
async def test_rcpt_is_read_strictly(sandbox: Sandbox, parameters: str, code: str) -> None:
    def talk() -> str:
        with smtp(sandbox) as client:
            client.execute("MAIL FROM:<scanner@example.com>")
            assert client.execute("RCPT TO:<>").startswith("501")
            return client.execute(f"RCPT TO:<alice@example.com> {parameters}")

    assert (await in_thread(talk)).startswith(code)


async def test_helo_offers_nothing(sandbox: Sandbox) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            assert client.execute("HELO a") == "250 mail.test"
            assert client.execute("MAIL FROM:<scanner@example.com> SIZE=1").startswith("555")

    await in_thread(talk)


@pytest.mark.parametrize(
    "personality",
    [replace(DOVECOT, smtp=replace(DOVECOT.smtp, capabilities_tls=("a", "SIZE 10", "AUTH XOAUTH2", "CHUNKING")))],
    ids=["SIZE 10"],
)
async def test_a_message_over_the_limit_is_refused_after_it(sandbox: Sandbox) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            for end in (b"DATA\r\n", b"BDAT 12 LAST\r\n", b"BDAT 12\r\n"):
                for line in ENVELOPE.splitlines():
                    assert client.execute(line.decode()).startswith("250")
                client.send(end)
                if end == b"DATA\r\n":
                    assert client.line().startswith("354")
                client.send(b"0123456789\r\n" + (b".\r\n" if end == b"DATA\r\n" else b""))
                assert client.line().startswith("552 5.3.4")
            assert client.execute("DATA").startswith("503")
            assert client.execute("RSET").startswith("250")

    await in_thread(talk)
    assert sandbox.submissions == []


async def test_chunks_arrive_octet_for_octet(sandbox: Sandbox) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            client.send(ENVELOPE + b"BDAT 5\r\n.\r\n.\rBDAT 2\r\n\nxBDAT 0 LAST\r\nNOOP\r\n")
            codes = [client.line()[:3] for _ in range(6)]
            assert codes == ["250"] * 6
            client.execute("MAIL FROM:<scanner@example.com>")
            # A chunk is swallowed even where nobody wants it.
            client.send(b"BDAT 6 LAST\r\nQUIT\r\nRSET\r\n")
            assert client.line().startswith("554")
            assert client.line().startswith("250")
            # One that is refused ends the transaction.
            client.send(b"BDAT 1\r\nxBDAT 1 LAST\r\nx" + ENVELOPE + b"RSET\r\n")
            assert [client.line()[:3] for _ in range(5)] == ["503", "503", "250", "250", "250"]
            client.send(ENVELOPE + b"BDAT 2\r\n\r\n")
            assert [client.line()[:3] for _ in range(3)] == ["250"] * 3
            assert client.execute("DATA").startswith("503")
            assert client.execute("RCPT TO:<alice@example.com>").startswith("503")
            assert client.execute("BDAT x").startswith("501")
            assert client.is_closed

    await in_thread(talk)
    (submission,) = sandbox.submissions
    assert submission.content == b".\r\n.\r\nx"
    assert submission.verb == "BDAT"
    assert submission.violations == ["a last line without CRLF"]


@pytest.mark.parametrize(
    ("personality", "answers"),
    [
        (limited("RCPTMAX=1"), ["250", "250", "452"]),
        (limited("MAILMAX=0"), ["421"]),
        (limited("RCPTMAX=x MAILMAX"), ["250", "250", "250"]),
    ],
)
async def test_limits_are_enforced(sandbox: Sandbox, answers: list[str]) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            client.send(ENVELOPE + b"RCPT TO:<fax@example.com>\r\n")
            assert [client.line()[:3] for _ in answers] == answers
            if answers == ["421"]:
                assert client.is_closed

    await in_thread(talk)


@pytest.mark.parametrize(
    ("personality", "answers"),
    [
        (DOVECOT, ["250", "553 5.7.1"]),
        (EXCHANGE, ["530 5.7.57"]),
        (GMAIL, ["530 5.7.0"]),
        (replace(DOVECOT, sign_in_required=None), ["250", "250"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_unauthenticated_clients(sandbox: Sandbox, answers: list[str]) -> None:
    def talk() -> None:
        with smtp(sandbox, authenticated=False) as client:
            got = [client.execute(line.decode()) for line in ENVELOPE.splitlines()[: len(answers)]]
            assert [line[: len(answer)] for line, answer in zip(got, answers, strict=True)] == answers

    await in_thread(talk)


@pytest.mark.parametrize(
    ("personality", "refused_at"), [(DOVECOT, 1), (EXCHANGE, 3), (GMAIL, None)], ids=["DOVECOT", "EXCHANGE", "GMAIL"]
)
async def test_another_users_sender_address(sandbox: Sandbox, refused_at: int | None) -> None:
    def talk() -> list[str]:
        with smtp(sandbox) as client:
            answers = [
                client.execute(f"MAIL FROM:<{'alice@example.com'}>"),
                client.execute("RCPT TO:<fax@example.com>"),
            ]
            if refused_at != 1:
                answers += [client.execute("DATA"), client.execute("x\r\n.")]
            return answers

    answers = await in_thread(talk)
    assert [at for at, answer in enumerate(answers) if answer[0] == "5"] == ([] if refused_at is None else [refused_at])
    assert len(sandbox.submissions) == (refused_at is None)


@pytest.mark.parametrize(
    ("personality", "length", "answer"),
    [
        (EXCHANGE, 512, "250"),
        (EXCHANGE, 513, "500 5.5.2"),
        (DOVECOT, 2048, "250"),
        (DOVECOT, 2049, "500 5.5.2"),
        (GMAIL, 1008, "555 5.5.2"),
    ],
)
async def test_the_command_line_limit(sandbox: Sandbox, length: int, answer: str) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            assert client.execute("NOOP " + "x" * (length - 7)).startswith(answer)
            if answer == "555 5.5.2":
                assert client.is_closed
                return
            client.execute("MAIL FROM:<scanner@example.com>")
            # Extensions make these lines longer (RFC 3461 section 4).
            if "DSN" in sandbox.personality.smtp.capabilities:
                assert client.execute(f"RCPT TO:<alice@example.com> ORCPT=rfc822;{'x' * 480}").startswith("250")

    await in_thread(talk)


async def test_a_bare_lf_or_an_endless_line_ends_the_connection(sandbox: Sandbox) -> None:
    def talk() -> None:
        for junk in (b"NOOP\nQUIT\r\n", b"x" * 70_000):
            with smtp(sandbox) as client:
                client.send(junk)
                assert client.line().startswith("521 5.5.2")

    await in_thread(talk)
    assert len(sandbox.violations) == 2


async def test_forbidden_pipelining_is_recorded(sandbox: Sandbox) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            client.send(b"NOOP\r\nRSET\r\n")
            assert [client.line()[:3] for _ in range(2)] == ["250", "250"]

    await in_thread(talk)
    assert sandbox.violations == ["something was sent behind NOOP before it was answered"]


@pytest.mark.parametrize("personality", [EXCHANGE], ids=["EXCHANGE"])
async def test_binary_content_needs_bdat(sandbox: Sandbox) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            assert client.execute("MAIL FROM:<scanner@example.com> BODY=BINARYMIME").startswith("250")
            client.execute("RCPT TO:<alice@example.com>")
            assert client.execute("DATA x").startswith("501")
            assert client.execute("DATA").startswith("503")
            client.send(b"BDAT 3 LAST\r\n\n\r\0")
            assert client.line().startswith("250")
            client.execute("MAIL FROM:<scanner@example.com>")
            assert client.execute("DATA").startswith("554")
            assert client.execute("VRFY alice").startswith("252")

    await in_thread(talk)
    assert sandbox.submissions[0].content == b"\n\r\0"
    assert sandbox.violations == []


@pytest.mark.parametrize(
    ("line", "violation"),
    [("EHLO", "EHLO without a name"), ("HELO ", "HELO without a name"), (" NOOP", "blanks around a command")],
)
async def test_what_the_server_tolerates_is_recorded(sandbox: Sandbox, line: str, violation: str) -> None:
    def talk() -> None:
        with RawClient(sandbox, sandbox.smtps) as client:
            client.execute("EHLO a")
            assert client.execute(line).startswith("250")

    await in_thread(talk)
    assert violation in sandbox.violations


@pytest.mark.parametrize(
    "personality", [replace(DOVECOT, smtp=replace(DOVECOT.smtp, capabilities_tls=("a", "AUTH XOAUTH2")))], ids=[""]
)
async def test_chunks_that_were_not_offered_are_recorded(sandbox: Sandbox) -> None:
    def talk() -> None:
        with smtp(sandbox) as client:
            for line in ENVELOPE.splitlines():
                assert client.execute(line.decode()).startswith("250")
            client.send(b"BDAT 2 LAST\r\n\r\n")
            assert client.line().startswith("250")

    await in_thread(talk)
    assert sandbox.violations == ["BDAT, which was not offered"]

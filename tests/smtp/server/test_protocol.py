"""The core's limits, what it tells clients of other protocols, and its transcript."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import Transcript
from mailslot.smtp.server import events, limits, replies
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.smtp.server.states import State
from mailslot.wire.closing import Closing
from mailslot.wire.command_input import CommandInput, LineTooLongError
from mailslot.wire.server_core import MAX_BAD_COMMANDS, MAX_JUNK_COMMANDS, MAX_TURN, TurnEnded
from server_play import FEEDS, bytewise, converse

from .play import RECIPIENT, SENDER, Player, offers, player

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply

TOO_LONG = b"500 5.5.2 The line is too long\r\n"


# Limits.


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("surplus", [0, 1, 5_000])
def test_the_length_of_a_line(surplus: int, feed: str) -> None:
    made = player()
    line = b"NOOP " + b"x" * (limits.MAX_COMMAND_LINE - len(b"NOOP \r\n") + surplus) + b"\r\n"
    for octets in FEEDS[feed](line + b"HELO me\r\n"):
        made.feed(octets)
    assert made.take_sent() == (TOO_LONG if surplus else b"250 2.0.0 Done\r\n") + b"250 gate.example\r\n"


def test_a_line_without_end_needs_no_memory() -> None:
    made = player()
    for _ in range(1_000):
        made.feed(b"x" * 1_000)
        assert len(made.core._input) < limits.MAX_COMMAND_LINE
    assert made.take_sent() == TOO_LONG
    made.feed(b"\nNOOP\r\n")
    assert made.take_sent() == b"250 2.0.0 Done\r\n"


def test_a_response_that_is_too_long_ends_the_exchange() -> None:
    made = player(encrypted=True)
    made.feed(b"EHLO me\r\nAUTH PLAIN\r\n")
    made.take_sent()
    made.feed(b"QUJD" * 3_072 + b"\r\n")
    assert made.take_sent() == b"501 5.5.2 This response cannot be decoded\r\n"
    made.feed(b"AUTH PLAIN\r\n" + b"A" * 12_300 + b"\r\n")
    assert made.take_sent() == b"334 \r\n" + TOO_LONG
    assert made.core.state is State.READY


def test_bad_commands() -> None:
    made = player()
    for _ in range(MAX_BAD_COMMANDS - 1):
        made.feed(b"what\r\n")
        assert made.take_sent() == b"500 5.5.1 Not a command\r\n"
    # What belongs to a group whose MAIL was refused is no fault.
    made.feed(b"HELO me\r\nRCPT TO:<a@example.com>\r\nDATA\r\n")
    made.take_sent()
    made.feed(b"\r\n")
    assert made.take_sent() == b"421 4.7.0 Too many commands that make no sense\r\n"
    assert made.heard[1:] == [Closing("limit")]


def test_commands_are_taken_in_turns() -> None:
    made = player()
    made.core.receive(b"NOOP\r\n" * (MAX_TURN + 1))
    assert made.core.next_event() == TurnEnded()
    assert made.core.octets_to_send().count(b"250 ") == MAX_TURN
    assert made.core.next_event() is None
    assert made.core.octets_to_send().count(b"250 ") == 1


REFUSED = {events.Mail: replies.SENDER_NOT_ALLOWED}


@pytest.mark.parametrize(
    ("commands", "refusals"),
    [
        (b"NOOP\r\n", {}),
        (b"VRFY x\r\n", {}),
        (b"EHLO me\r\n", {}),
        (b"HELO me\r\nRSET\r\n", {}),
        (b"MAIL FROM:<>\r\nRSET\r\n", {}),
        (b"MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRSET\r\n", {}),
        (b"MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n", REFUSED),
        (b"MAIL FROM:<>\r\n" + b"RCPT TO:<b@example.com>\r\n" * 9, {events.Recipient: replies.RECIPIENT_NOT_ALLOWED}),
        (b"BDAT 1\r\nx", {}),
    ],
)
def test_commands_without_a_message(commands: bytes, refusals: dict[type, Reply]) -> None:
    made = player(refusals)
    made.feed(b"HELO me\r\n")
    # So many that each of them has come often enough.
    made.feed(commands * 4 * MAX_JUNK_COMMANDS)
    sent = made.take_sent().splitlines()
    assert sent[-1] == b"421 4.7.0 Too many commands without a message"
    assert made.heard[-1] == Closing("limit")
    assert len(sent) <= 2 * MAX_JUNK_COMMANDS * 8


@pytest.mark.parametrize(
    "content", [[b"DATA\r\n", b"x\r\n.\r\n"], [b"BDAT 1\r\nxBDAT 0 LAST\r\n"]], ids=["data", "chunks"]
)
def test_messages_without_end(content: list[bytes]) -> None:
    made = player()
    made.feed(b"HELO me\r\n")
    recipients = b"RCPT TO:<b@example.com>\r\n" * 20
    for _ in range(MAX_JUNK_COMMANDS):
        for octets in (b"NOOP\r\nMAIL FROM:<>\r\n" + recipients, *content):
            made.feed(octets)
    assert len(made.messages) == MAX_JUNK_COMMANDS


def test_chunks_of_a_large_message() -> None:
    made = player()
    made.feed(b"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n")
    chunk = b"BDAT %d\r\n" % limits.MIN_CHUNK + b"x" * limits.MIN_CHUNK
    made.feed(chunk * 2 * MAX_JUNK_COMMANDS + b"BDAT 0 LAST\r\n")
    assert len(made.messages) == 1


def test_recipients() -> None:
    made = player()
    made.feed(b"EHLO me\r\nMAIL FROM:<>\r\n")
    made.take_sent()
    made.feed(b"RCPT TO:<a@example.com>\r\n" * (limits.MAX_RECIPIENTS + 2))
    lines = made.take_sent().splitlines()
    assert lines[-3:] == [b"250 2.1.5 Recipient accepted", *[b"452 4.5.3 Too many recipients for one message"] * 2]
    made.feed(b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\n")
    assert made.take_sent().endswith(b"250 2.1.5 Recipient accepted\r\n")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_message_without_end_is_not_read_forever(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DISCARDED", 5_000)
    monkeypatch.setattr("mailslot.smtp.server.content.MAX_DISCARDED", 5_000)
    made = player(max_size=100)
    made.feed(b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\n")
    made.feed(b"BDAT 5001 LAST\r\n" if chunked else b"DATA\r\n")
    made.take_sent()
    for _ in range(0 if chunked else 51):
        assert made.core.state is State.DATA
        made.feed(b"x" * 100)
    assert made.core.state is (State.CLOSED if chunked else State.DATA)
    made.feed(b"x" * 100)
    assert made.take_sent() == (b"" if chunked else b"552 5.3.4 The message is larger than this server takes\r\n")
    assert made.heard[-1] == Closing("limit")


@pytest.mark.parametrize(("seconds", "shown"), [(0.2, 1), (12.4, 12)])
def test_how_long_a_device_that_is_too_fast_waits(seconds: float, shown: int) -> None:
    assert str(replies.too_fast(seconds)) == f"451 4.7.1 Too many messages; try again in {shown} seconds"


def test_replies_collect() -> None:
    core = player().core
    core.receive(b"NOOP\r\n" * 10)
    assert core.next_event() is None
    assert core.octets_to_send(161) == b""
    assert core.octets_to_send() == b"250 2.0.0 Done\r\n" * 10
    assert core.octets_to_send() == b""


# Other protocols.


@pytest.mark.parametrize("feed", FEEDS)
def test_tls_where_smtp_was_due(feed: str) -> None:
    made = player()
    for octets in FEEDS[feed](b"\x16\x03\x01\x02\x00\x01\x00\n" + bytes(500)):
        made.feed(octets)
    assert made.take_sent() == b""
    assert made.core.other_protocol == "TLS"
    assert made.heard == [Closing("protocol")]


def test_http_where_smtp_was_due() -> None:
    made = player()
    made.feed(b"POST / HTTP/1.1\r\nHost: gate.example\r\n\r\nEHLO me\r\nMAIL FROM:<>\r\n")
    assert made.take_sent() == b"500 5.5.2 This is an SMTP server\r\n"
    assert made.core.other_protocol == "HTTP"
    assert made.heard == [Closing("protocol")]


# What is offered.


@pytest.mark.parametrize(
    ("changes", "encrypted", "last"),
    [
        ({}, False, ["STARTTLS"]),
        ({}, True, ["AUTH PLAIN LOGIN"]),
        ({"tls": False}, False, []),
        ({"tls": False, "clear_text_passwords": True}, False, ["AUTH PLAIN LOGIN"]),
        ({"authentication": False}, True, []),
        ({"obsolete_auth_line": True}, True, ["AUTH PLAIN LOGIN", "AUTH=PLAIN LOGIN"]),
    ],
)
def test_offers(changes: dict[str, bool], encrypted: bool, last: list[str]) -> None:
    made = player(encrypted=encrypted, **changes)
    made.feed(b"EHLO me\r\n")
    lines = [line[4:] for line in made.take_sent().decode().splitlines()]
    assert lines == [
        "gate.example", "PIPELINING", "SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", *last
    ]  # fmt: skip


def test_what_is_not_offered() -> None:
    made = player(tls=False, clear_text_passwords=True, authentication=False)
    converse(
        made,
        """
        C: HELO me
        S: 250 gate.example
        C: STARTTLS
        S: 502 5.5.1 STARTTLS is not offered
        C: AUTH PLAIN AGEAYg==
        S: 502 5.5.1 Nobody signs in here
        """,
    )


# The transcript.


def transcript_of(octets: bytes, *, encrypted: bool = True, refusals: dict[type, replies.Reply] | None = None) -> str:
    notes = Transcript()
    made = Player(SmtpServerProtocol(offers(), notes, encrypted=encrypted), refusals or {})
    made.core.greet()
    for line in octets.splitlines(keepends=True):
        made.feed(line)
    return str(notes)


def test_the_transcript_of_a_scan() -> None:
    text = transcript_of(
        b"HELO me\r\nAUTH PLAIN AHNjYW4Ab3BlbiBzZXNhbWU=\r\nMAIL FROM:<open sesame>\r\nMAIL FROM:<a@example.com>\r\n"
        b"RCPT TO:<b@example.com>\r\nDATA\r\nSubject: private\r\n.\r\nQUIT\r\n"
    )
    assert text.splitlines() == [
        "S: 220 gate.example ESMTP",
        "C: HELO me",
        "S: 250 gate.example",
        "C: AUTH PLAIN •••",
        "S: 235 2.7.0 Signed in",
        "C: MAIL FROM:<•••>",
        "S: 501 5.1.7 This cannot be the address of a sender",
        "C: MAIL FROM:<a@example.com>",
        "S: 250 2.1.0 Sender accepted",
        "C: RCPT TO:<b@example.com>",
        "S: 250 2.1.5 Recipient accepted",
        "C: DATA",
        "S: 354 Send the message, and end it with <CRLF>.<CRLF>",
        "C: (18 octets of a message)",
        "S: 250 2.0.0 queued as job1",
        "C: QUIT",
        "S: 221 2.0.0 Goodbye",
    ]


@pytest.mark.parametrize(
    "octets",
    [
        b"AUTH LOGIN\r\nb3BlbiBzZXNhbWU=\r\nb3BlbiBzZXNhbWU=\r\n",
        b"AUTH PLAIN AHNjYW4Ab3BlbiBzZXNhbWU=\r\n",
        b"AUTH LOGIN b3BlbiBzZXNhbWU=\r\nb3BlbiBzZXNhbWU=\r\n",
        b"USER scan\r\nPASS open sesame\r\n",
        b"PASS open sesame\r\n",
        b"AUTH CRAM-MD5\r\nb3BlbiBzZXNhbWU=\r\n",
        b"auth\tplain\tAHNjYW4Ab3BlbiBzZXNhbWU=\r\n",
        b"\0AUTH PLAIN AHNjYW4Ab3BlbiBzZXNhbWU=\r\n",
        b"HELO meAUTH PLAIN AHNjYW4Ab3BlbiBzZXNhbWU=\r\n",
        b"AUTH LOGIN\r\n\x01open sesame\r\nb3BlbiBzZXNhbWU=\r\n",
    ],
)
@pytest.mark.parametrize("encrypted", [True, False])
def test_the_transcript_holds_no_secret(octets: bytes, encrypted: bool) -> None:
    text = transcript_of(b"EHLO me\r\n" + octets, encrypted=encrypted)
    assert "sesame" not in text
    assert "b3BlbiBz" not in text
    assert "AHNjYW4A" not in text
    assert "•••" in text


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"XCLIENT", "XCLIENT"),
        (b"ETRN example.com", "ETRN …"),
        (b"H PLAIN AHNjYW4Ab3BlbiBzZXNhbWU=", "H …"),
        (b"AHNjYW4Ab3BlbiBzZXNhbWU=", "•••"),
        (b"\0\1", "•••"),
    ],
)
def test_what_is_no_command_in_the_transcript(line: bytes, shown: str) -> None:
    assert f"C: {shown}\nS: 500 " in transcript_of(b"HELO me\r\n" + line + b"\r\n")


def test_chunks_and_refused_messages_in_the_transcript() -> None:
    text = transcript_of(
        b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nBDAT 3\r\na\r\nBDAT 2000000 LAST\r\n",
        encrypted=False,
    )
    assert "*  a chunk, 3 octets so far\n" in text
    text = transcript_of(b"EHLO me\r\nBDAT 2 LAST\r\n\r\n" + b"x" * 3_000 + b"\r\n\x16\x03")
    assert "*  a message that was refused\n" in text
    assert "*  a line that is too long\n" in text
    assert "*  the client speaks TLS, where SMTP was due" in text


# Input.


def test_pieces_of_input() -> None:
    made = CommandInput()
    made.feed(b"ab\ncd\r\nef")
    assert len(made) == 9
    assert made.next_line(10) == b"ab"
    assert made.next_line(10) == b"cd"
    assert made.next_line(10) is None
    assert made.take(1) == b"e"
    assert made.take(5) == b"f"
    made.feed(b"0123456789\n" + b"01234567\r\n")
    with pytest.raises(LineTooLongError):
        made.next_line(10)
    assert made.next_line(10) == b"01234567"
    made.clear()
    assert not made


def test_a_group_bytewise_gets_the_same_replies() -> None:
    group = "C: NOOP\nC: RSET\nC: VRFY me\n" + SENDER.replace("S:", "C: NOOP #") + RECIPIENT.replace("S:", "C: NOOP #")
    octets = "".join(line[3:] + "\r\n" for line in group.splitlines() if line).encode()
    one, other = player(), player()
    one.feed(octets)
    for each in bytewise(octets):
        other.feed(each)
    assert one.take_sent() == other.take_sent()
    assert one.heard == other.heard

"""Whole dialogues, as devices lead them, fed whole and byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.pop3.server import events, replies
from mailslot.pop3.server.states import State
from mailslot.wire.closing import Closing
from server_play import FEEDS, converse

from .play import TIMESTAMP, player

if TYPE_CHECKING:
    from server_play import Feed


@pytest.fixture(params=FEEDS)
def feed(request: pytest.FixtureRequest) -> Feed:
    return FEEDS[request.param]


def test_a_device_fetches_and_deletes(feed: Feed) -> None:
    made = player(encrypted=True)
    converse(
        made,
        """
        C: CAPA
        S: +OK Capabilities follow
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: USER
        S: .
        C: user fax
        S: +OK Send the password
        C: pass  open sesame\\x20
        S: +OK 3 messages
        C: STAT
        S: +OK 3 98
        C: LIST
        S: +OK 3 messages
        S: 1 39
        S: 2 35
        S: 3 24
        S: .
        C: UIDL
        S: +OK 3 messages
        S: 1 uid-0
        S: 2 uid-1
        S: 3 uid-2
        S: .
        C: RETR 1
        S: +OK The message follows
        S: Subject: one
        S:
        S: first
        S: ..dot
        S: ...
        S: last
        S: .
        C: DELE 1
        S: +OK Message 1 is marked
        C: STAT
        S: +OK 2 59
        C: QUIT
        S: +OK Goodbye
        """,
        feed,
    )
    assert made.deleted == [100]
    credentials = made.heard[0]
    assert isinstance(credentials, events.Credentials)
    # The blanks of a password are part of it.
    assert (credentials.user, credentials.secret.reveal()) == ("fax", " open sesame ")
    assert made.heard[-1] == Closing("quit")
    assert made.core.state is State.CLOSED


def test_marks_and_numbers(feed: Feed) -> None:
    made = player(signed_in=True)
    converse(
        made,
        """
        C: DELE 2
        S: +OK Message 2 is marked
        C: DELE 2
        S: -ERR There is no such message
        C: RETR 2
        S: -ERR There is no such message
        C: TOP 2 0
        S: -ERR There is no such message
        C: LIST 2
        S: -ERR There is no such message
        C: UIDL 2
        S: -ERR There is no such message
        C: LIST
        S: +OK 2 messages
        S: 1 39
        S: 3 24
        S: .
        C: UIDL
        S: +OK 2 messages
        S: 1 uid-0
        S: 3 uid-2
        S: .
        C: RSET
        S: +OK 3 messages
        C: STAT
        S: +OK 3 98
        C: LIST 2
        S: +OK 2 35
        C: UIDL 3
        S: +OK 3 uid-2
        C: LIST 0
        S: -ERR There is no such message
        C: DELE 4
        S: -ERR There is no such message
        C: QUIT
        S: +OK Goodbye
        """,
        feed,
    )
    assert made.deleted == []
    assert made.heard == [Closing("quit")]


def test_top(feed: Feed) -> None:
    made = player(signed_in=True)
    converse(
        made,
        """
        C: TOP 1 0
        S: +OK The message follows
        S: Subject: one
        S:
        S: .
        C: TOP 1 2
        S: +OK The message follows
        S: Subject: one
        S:
        S: first
        S: ..dot
        S: .
        C: TOP 2 5
        S: +OK The message follows
        S: Subject: two
        S: To: b@example.com
        S:
        S: .
        C: TOP 3 999999999
        S: +OK The message follows
        S: Subject: three
        S:
        S: no end
        S: .
        """,
        feed,
    )
    assert [event.whole for event in made.heard if isinstance(event, events.Retrieve)] == [False] * 4


def test_one_group_of_commands(feed: Feed) -> None:
    made = player(encrypted=True)
    converse(
        made,
        """
        C: USER fax
        C: PASS open sesame
        C: STAT
        C: RETR 3
        C: DELE 3
        C: NOOP
        C: QUIT
        C: STAT
        S: +OK Send the password
        S: +OK 3 messages
        S: +OK 3 98
        S: +OK The message follows
        S: Subject: three
        S:
        S: no end
        S: .
        S: +OK Message 3 is marked
        S: +OK Done
        S: +OK Goodbye
        """,
        feed,
    )
    assert made.deleted == [102]


def test_stls_and_what_is_forgotten(feed: Feed) -> None:
    made = player()
    converse(
        made,
        """
        C: USER fax
        S: -ERR [AUTH] Sign in only after STLS
        C: PASS open sesame
        S: -ERR Send USER first
        C: APOP fax 0123456789abcdef0123456789abcdef
        S: -ERR [AUTH] Sign in only after STLS
        C: STLS now
        S: -ERR This command has no argument
        C: CAPA
        S: +OK Capabilities follow
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: STLS
        S: .
        C: STLS
        S: +OK Ready to start TLS
        C: STLS
        S: -ERR TLS is in use already
        C: PASS open sesame
        S: -ERR Send USER first
        C: USER fax
        S: +OK Send the password
        C: PASS open sesame
        S: +OK 3 messages
        C: STLS
        S: -ERR Not now
        C: CAPA
        S: +OK Capabilities follow
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: USER
        S: .
        """,
        feed,
    )
    assert made.core.encrypted


def test_octets_behind_stls_end_the_session() -> None:
    made = player()
    made.feed(b"STLS\r\nUSER fax\r\n")
    assert made.take_sent() == b"-ERR Wait for the response before you send on\r\n"
    assert made.heard == [Closing("protocol")]


def test_a_user_named_before_stls_is_forgotten() -> None:
    made = player(clear_text_passwords=True)
    made.feed(b"USER fax\r\n")
    made.feed(b"STLS\r\n")
    made.feed(b"PASS open sesame\r\n")
    assert made.take_sent().endswith(b"-ERR Send USER first\r\n")


def test_apop(feed: Feed) -> None:
    made = player(clear_text_passwords=True)
    converse(
        made,
        """
        C: APOP fax
        S: -ERR Syntax: APOP name digest
        C: APOP fax xyz
        S: -ERR Syntax: APOP name digest
        C: APOP  fax  C4C9334BAC560ECC979E58001B3E22FB\\x20
        S: +OK 3 messages
        """,
        feed,
    )
    assert made.heard == [events.ApopDigest("fax", TIMESTAMP, "c4c9334bac560ecc979e58001b3e22fb")]


def test_apop_where_it_is_not_offered() -> None:
    made = player(timestamp="", encrypted=True)
    made.feed(b"APOP fax c4c9334bac560ecc979e58001b3e22fb\r\n")
    assert made.take_sent() == b"-ERR APOP is not offered; use USER and PASS\r\n"
    assert made.heard == []


def test_refusals_of_the_backend(feed: Feed) -> None:
    refused = {
        events.Credentials: replies.IN_USE,
        events.ApopDigest: replies.AUTHENTICATION_FAILED,
        events.StartTls: replies.NOT_NOW,
    }
    made = player(refused, clear_text_passwords=True)
    converse(
        made,
        """
        C: USER fax
        S: +OK Send the password
        C: PASS open sesame
        S: -ERR [IN-USE] The mailbox is in use by another session
        C: PASS open sesame
        S: -ERR Send USER first
        C: APOP fax c4c9334bac560ecc979e58001b3e22fb
        S: -ERR [AUTH] User name or password is wrong
        C: STLS
        S: -ERR Not now
        """,
        feed,
    )
    assert made.core.refusal == replies.NOT_NOW
    del made.refusals[events.Credentials]
    made.refusals |= {events.Retrieve: replies.UNREADABLE, events.Update: replies.NOT_DELETED}
    converse(
        made,
        """
        C: USER fax
        C: PASS open sesame
        S: +OK Send the password
        S: +OK 3 messages
        C: RETR 1
        S: -ERR [SYS/TEMP] This message cannot be read now
        C: TOP 1 0
        S: -ERR [SYS/TEMP] This message cannot be read now
        C: DELE 1
        S: +OK Message 1 is marked
        C: QUIT
        S: -ERR [SYS/TEMP] The messages could not be deleted
        """,
        feed,
    )
    assert made.deleted == []
    assert made.heard[-1] == Closing("quit")


def test_syntax(feed: Feed) -> None:
    for line, due in {
        "": "Not a command",
        "   ": "Not a command",
        "STAT\\x00": "Not a command",
        "AUTH": "Not a command",
        "LAST": "Not a command",
        "USER": "Send USER first",
        "STAT 1": "This command has no argument",
        "LIST x": "This command needs the number of a message",
        "UIDL 1 2": "This command needs the number of a message",
        "RETR": "This command needs the number of a message",
        "RETR -1": "This command needs the number of a message",
        "RETR \\xc2\\xb2": "This command needs the number of a message",
        "DELE 9999999999": "This command needs the number of a message",
        "TOP 1": "Syntax: TOP message lines",
        "TOP 1 -1": "Syntax: TOP message lines",
        "RSET now": "This command has no argument",
        "NOOP now": "This command has no argument",
        "CAPA USER": "This command has no argument",
    }.items():
        if line != "USER":
            converse(player(signed_in=True), f"C: {line}\nS: -ERR {due}", feed)
    for line, due in {
        "USER ": "Syntax: USER name",
        "STLS": "STLS is not offered",
    }.items():
        converse(player(clear_text_passwords=True, tls=False), f"C: {line}\nS: -ERR {due}", feed)
    converse(
        player(clear_text_passwords=True),
        "C: USER fax\nS: +OK Send the password\nC: PASS\nS: -ERR Syntax: PASS password",
        feed,
    )


def test_lines_in_odd_forms(feed: Feed) -> None:
    converse(
        player(signed_in=True),
        """
        C: \\x20 stat  \\n\\
        S: +OK 3 98
        C: list 1 \\x20
        S: +OK 1 39
        C: top  1   0
        S: +OK The message follows
        S: Subject: one
        S:
        S: .
        """,
        feed,
    )


def test_ten_bad_commands(feed: Feed) -> None:
    made = player()
    converse(made, "C: XYZ\nS: -ERR Not a command\n" * 9, feed)
    converse(made, "C: STAT\nS: -ERR Too many commands that make no sense", feed)
    assert made.heard == [Closing("limit")]


def test_a_long_line(feed: Feed) -> None:
    made = player(signed_in=True)
    for octets in feed(b"NOOP " + b"x" * 20_000 + b"\r\nNOOP\r\n"):
        made.feed(octets)
    assert made.take_sent() == b"-ERR The line is too long\r\n+OK Done\r\n"
    assert len(made.core._input) == 0


def test_other_protocols(feed: Feed) -> None:
    for octets, due, name in (
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"-ERR This is a POP3 server\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01", b"", "TLS"),
    ):
        made = player()
        for piece in feed(octets):
            made.feed(piece)
        assert made.take_sent() == due
        assert made.core.other_protocol == name
        assert made.heard == [Closing("protocol")]


def test_lines_that_run_together_show_no_secret(feed: Feed) -> None:
    made = player(clear_text_passwords=True)
    for octets in feed(
        b"USER PASS open sesame\r\nNOOP PASS open sesame\r\nLIST 1PASS open sesame\r\nUSER\r\nLIST 1\r\n"
    ):
        made.feed(octets)
    notes = str(made.core._recorder._transcript)
    assert "sesame" not in notes
    assert "C: USER PASS •••" in notes
    assert "C: LIST •••" in notes
    assert "C: LIST 1\n" in notes


def test_no_secret_is_recorded(feed: Feed) -> None:
    made = player({events.Credentials: replies.AUTHENTICATION_FAILED}, clear_text_passwords=True)
    for octets in feed(
        b"PASS hunter2hunter2\r\nUSER fax\r\nPASS hunter2hunter2\r\nhunter2hunter2\r\nAUTH PLAIN aGVsbG8=\r\n"
        b"APOP fax c4c9334bac560ecc979e58001b3e22fb\r\nUSER hunter2hunter2\r\naGVsbG8=\r\n"
    ):
        made.feed(octets)
    notes = str(made.core._recorder._transcript)
    for secret in ("hunter2", "aGVsbG8", "c4c9334b"):
        assert secret not in notes
    assert "C: PASS •••" in notes
    assert "C: APOP fax •••" in notes

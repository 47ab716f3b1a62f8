"""Whole dialogues, as devices lead them, fed whole and byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.smtp.server import events, replies
from mailslot.smtp.server.backend import MailParameters
from mailslot.wire.closing import Closing
from server_play import FEEDS, converse

from .play import DATA, READY, RECIPIENT, SENDER, player

if TYPE_CHECKING:
    from server_play import Feed


@pytest.fixture(params=FEEDS)
def feed(request: pytest.FixtureRequest) -> Feed:
    return FEEDS[request.param]


def test_a_scan(feed: Feed) -> None:
    made = player(encrypted=True)
    converse(
        made,
        """
        C: EHLO NPIF65E56
        S: 250-gate.example
        S: 250-PIPELINING
        S: 250-SIZE 1000000
        S: 250-8BITMIME
        S: 250-ENHANCEDSTATUSCODES
        S: 250-CHUNKING
        S: 250 AUTH PLAIN LOGIN
        C: AUTH PLAIN AHNjYW4Ab3BlbiBzZXNhbWU=
        S: 235 2.7.0 Signed in
        C: MAIL FROM:<scanner@example.com> SIZE=30 BODY=8BITMIME
        S: 250 2.1.0 Sender accepted
        C: RCPT TO:<a@example.com>
        S: 250 2.1.5 Recipient accepted
        C: RCPT TO:<b@example.com>
        S: 250 2.1.5 Recipient accepted
        C: DATA
        S: 354 Send the message, and end it with <CRLF>.<CRLF>
        C: Subject: scan
        C:
        C: ..dot
        C: .
        S: 250 2.0.0 queued as job1
        C: QUIT
        S: 221 2.0.0 Goodbye
        """,
        feed,
    )
    assert made.messages == [
        ("scanner@example.com", ["a@example.com", "b@example.com"], b"Subject: scan\r\n\r\n.dot\r\n")
    ]
    assert made.heard[0] == events.Hello("NPIF65E56", esmtp=True)
    credentials = made.heard[1]
    assert isinstance(credentials, events.Credentials)
    assert (credentials.user, credentials.secret) == ("scan", "open sesame")
    assert made.heard[2] == events.Mail("scanner@example.com", MailParameters(30, eight_bit=True))
    assert made.heard[-1] == Closing("quit")


def test_an_old_fax_without_a_name(feed: Feed) -> None:
    made = player()
    converse(
        made,
        f"""
        C: helo
        S: 250 gate.example
        C: mail from: fax@example.com
        S: 250 2.1.0 Sender accepted
        C: Rcpt To: <to@example.com>\\x20\\x20
        S: 250 2.1.5 Recipient accepted
        {DATA}
        C: one\\n\\
        C: two\\r\\
        C: three
        C: .
        S: 250 2.0.0 queued as job1
        """,
        feed,
    )
    assert made.messages == [("fax@example.com", ["to@example.com"], b"one\r\ntwo\r\nthree\r\n")]
    assert made.heard[0] == events.Hello("", esmtp=False)


def test_starttls_then_a_sign_in_without_a_second_ehlo(feed: Feed) -> None:
    made = player()
    converse(
        made,
        READY
        + """
        C: AUTH PLAIN AHNjYW4Ab3BlbiBzZXNhbWU=
        S: 538 5.7.11 Sign in only after STARTTLS
        C: STARTTLS
        S: 220 2.0.0 Ready to start TLS
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: c2Nhbg==
        S: 334 UGFzc3dvcmQ6
        C: b3BlbiBzZXNhbWU=
        S: 235 2.7.0 Signed in
        C: AUTH LOGIN
        S: 503 5.5.1 Already signed in
        C: STARTTLS
        S: 503 5.5.1 TLS is in use already
        """
        + SENDER,
        feed,
    )


def test_login_with_the_user_in_the_command(feed: Feed) -> None:
    made = player(encrypted=True)
    converse(
        made,
        """
        C: HELO me
        S: 250 gate.example
        C: auth login c2Nhbg==
        S: 334 UGFzc3dvcmQ6
        C: c2VjcmV0
        S: 235 2.7.0 Signed in
        """,
        feed,
    )
    assert isinstance(made.heard[1], events.Credentials)
    assert (made.heard[1].user, made.heard[1].secret) == ("scan", "secret")


def test_a_refused_sign_in_and_another(feed: Feed) -> None:
    made = player({events.Credentials: replies.AUTHENTICATION_FAILED}, encrypted=True)
    converse(
        made,
        """
        C: HELO me
        S: 250 gate.example
        C: AUTH PLAIN
        S: 334
        C: AHNjYW4AeA==
        S: 535 5.7.8 User name or password is wrong
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: *
        S: 501 5.7.0 Sign-in cancelled
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: &&&
        S: 501 5.5.2 This response cannot be decoded
        C: AUTH PLAIN =
        S: 501 5.5.2 This response cannot be decoded
        C: AUTH CRAM-MD5
        S: 504 5.5.4 Use AUTH PLAIN or AUTH LOGIN
        C: AUTH
        S: 504 5.5.4 Use AUTH PLAIN or AUTH LOGIN
        """,
        feed,
    )
    assert not made.core.signed_in


def test_chunks(feed: Feed) -> None:
    made = player()
    converse(
        made,
        READY
        + SENDER
        + RECIPIENT
        + """
        C: BDAT 9
        C: 0123456\\n.\\
        S: 250 2.0.0 Chunk received
        C: DATA
        S: 503 5.5.1 Not between the chunks of a message
        C: MAIL FROM:<>
        S: 503 5.5.1 Not between the chunks of a message
        C: BDAT 4 LAST
        C: \\nend\\
        S: 250 2.0.0 queued as job1
        C: BDAT 0 last
        S: 503 5.5.1 Send MAIL first
        """,
        feed,
    )
    assert made.messages[0][2] == b"0123456\r\n.\r\nend\r\n"


def test_a_group_of_commands(feed: Feed) -> None:
    made = player()
    converse(
        made,
        READY
        + """
        C: MAIL FROM:<scanner@example.com>
        C: RCPT TO:<a@example.com>
        C: RCPT TO:<b@example.com>
        C: DATA
        S: 250 2.1.0 Sender accepted
        S: 250 2.1.5 Recipient accepted
        S: 250 2.1.5 Recipient accepted
        S: 354 Send the message, and end it with <CRLF>.<CRLF>
        C: x
        C: .
        C: MAIL FROM:<>
        C: RCPT TO:<a@example.com>
        C: BDAT 3 LAST
        C: a\\r\\n\\
        C: QUIT
        S: 250 2.0.0 queued as job1
        S: 250 2.1.0 Sender accepted
        S: 250 2.1.5 Recipient accepted
        S: 250 2.0.0 queued as job2
        S: 221 2.0.0 Goodbye
        """,
        feed,
    )
    assert [message[2] for message in made.messages] == [b"x\r\n", b"a\r\n"]


def test_a_group_whose_sender_is_refused(feed: Feed) -> None:
    made = player({events.Mail: replies.AUTHENTICATION_REQUIRED})
    converse(
        made,
        READY
        + """
        C: MAIL FROM:<scanner@example.com>
        C: RCPT TO:<a@example.com>
        C: DATA
        S: 530 5.7.0 Sign in first
        S: 503 5.5.1 Send MAIL first
        S: 503 5.5.1 Send MAIL first
        C: BDAT 5
        C: NOOP\\n\\
        C: BDAT 6 LAST
        C: QUIT\\r\\n\\
        S: 503 5.5.1 Send MAIL first
        S: 503 5.5.1 Send MAIL first
        C: RSET
        S: 250 2.0.0 Done
        """,
        feed,
    )


def test_a_group_whose_recipients_are_refused(feed: Feed) -> None:
    made = player({events.Recipient: replies.RECIPIENT_NOT_ALLOWED})
    converse(
        made,
        READY
        + """
        C: MAIL FROM:<scanner@example.com>
        C: RCPT TO:<a@example.com>
        C: DATA
        S: 250 2.1.0 Sender accepted
        S: 550 5.7.1 This device may not send to this address
        S: 554 5.5.1 No valid recipients
        C: BDAT 2 LAST
        C: x\\n\\
        S: 554 5.5.1 No valid recipients
        """,
        feed,
    )
    assert made.messages == []


def test_no_room_at_the_beginning_of_the_message(feed: Feed) -> None:
    made = player({events.Begin: replies.SPOOL_FULL})
    converse(
        made,
        READY
        + SENDER
        + RECIPIENT
        + """
        C: DATA
        S: 452 4.3.1 There is no room for a message now
        C: BDAT 2
        C: x\\n\\
        C: BDAT 2 LAST
        C: y\\n\\
        S: 452 4.3.1 There is no room for a message now
        S: 503 5.5.1 Send MAIL first
        """,
        feed,
    )


def test_a_message_that_is_refused_at_its_end(feed: Feed) -> None:
    made = player({events.EndOfMessage: replies.MAIL_LOOP, events.ChunkReceived: replies.SPOOL_FULL})
    converse(
        made,
        READY
        + SENDER
        + RECIPIENT
        + DATA
        + """
        C: .
        S: 554 5.4.6 This message has been here before, or passed through too many servers
        """
        + SENDER
        + RECIPIENT
        + """
        C: BDAT 3
        C: a\\r\\n\\
        S: 452 4.3.1 There is no room for a message now
        C: BDAT 3 LAST
        C: b\\r\\n\\
        S: 503 5.5.1 Send MAIL first
        """
        + SENDER,
        feed,
    )
    assert made.messages == []


def test_sizes(feed: Feed) -> None:
    made = player(max_size=10)
    converse(
        made,
        READY.replace("1000000", "10")
        + """
        C: MAIL FROM:<scanner@example.com> SIZE=11
        S: 552 5.3.4 The message is larger than this server takes
        C: MAIL FROM:<scanner@example.com> SIZE=none
        S: 250 2.1.0 Sender accepted
        """
        + RECIPIENT
        + DATA
        + """
        C: 12345678
        C: .
        S: 250 2.0.0 queued as job1
        """
        + SENDER
        + RECIPIENT
        + DATA
        + """
        C: 123456789
        C: .
        S: 552 5.3.4 The message is larger than this server takes
        """
        + SENDER
        + RECIPIENT
        + """
        C: BDAT 6
        C: 1234\\r\\n\\
        C: BDAT 6 LAST
        C: 1234\\r\\n\\
        S: 250 2.0.0 Chunk received
        S: 552 5.3.4 The message is larger than this server takes
        """
        + SENDER
        + RECIPIENT
        + """
        C: BDAT 10 LAST
        C: \\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\
        S: 552 5.3.4 The message is larger than this server takes
        """
        + SENDER,
        feed,
    )
    assert [message[2] for message in made.messages] == [b"12345678\r\n"]
    assert sum(isinstance(event, events.Aborted) for event in made.heard) == 3


def test_a_transaction_that_is_given_up(feed: Feed) -> None:
    made = player()
    converse(
        made,
        READY
        + SENDER
        + RECIPIENT
        + """
        C: BDAT 3
        C: abc\\
        S: 250 2.0.0 Chunk received
        C: RSET
        S: 250 2.0.0 Done
        C: RCPT TO:<to@example.com>
        S: 503 5.5.1 Send MAIL first
        """
        + SENDER
        + RECIPIENT
        + """
        C: BDAT 3
        C: abc\\
        S: 250 2.0.0 Chunk received
        """
        + READY
        + SENDER
        + """
        C: MAIL FROM:<scanner@example.com>
        S: 503 5.5.1 A message has begun; send RSET first
        """,
        feed,
    )
    assert sum(isinstance(event, events.Aborted) for event in made.heard) == 2


def test_commands_without_effect(feed: Feed) -> None:
    converse(
        player(),
        """
        C: MAIL FROM:<>
        S: 503 5.5.1 Send HELO or EHLO first
        C: NOOP ignored
        S: 250 2.0.0 Done
        C: RSET
        S: 250 2.0.0 Done
        C: VRFY root
        S: 252 2.0.0 Addresses are not verified; send the message
        C: EXPN all
        S: 502 5.5.1 Not implemented
        C: help
        S: 214 2.0.0 See RFC 5321
        C: DATA x
        S: 503 5.5.1 Send HELO or EHLO first
        """
        + READY
        + """
        C: STARTTLS now
        S: 501 5.5.4 This command has no argument
        """
        + SENDER
        + RECIPIENT
        + """
        C: DATA now
        S: 501 5.5.4 This command has no argument
        C: STARTTLS
        S: 503 5.5.1 Not now
        C: AUTH PLAIN
        S: 503 5.5.1 Not now
        """,
        feed,
    )

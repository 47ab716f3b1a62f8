"""What a server may be told: other words, mechanisms for tokens, messages as they are, and lines to refuse."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING

import pytest

from mailslot import Transcript
from mailslot.sasl.bearer_server import XOAuth2Server
from mailslot.smtp.server import events, replies
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.smtp.server.states import State
from server_play import FEEDS, converse

from .play import READY, RECIPIENT, SENDER, Player, offers, player

if TYPE_CHECKING:
    from server_play import Feed

feeds = pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
TOKEN = base64.b64encode(b"user=scan\x01auth=Bearer ya29\x01\x01").decode()
REASONS = base64.b64encode(b'{"status":"401"}').decode()


def test_other_words() -> None:
    wording = {replies.DONE: replies.reply(250, "2.0.0", "Ok"), replies.GOODBYE: replies.reply(221, "2.0.0", "Bye")}
    made = Player(SmtpServerProtocol(offers(), Transcript(), wording=wording))
    made.core.greet(replies.reply(220, None, "mail.test ESMTP Postfix"))
    made.feed(b"NOOP\r\nRSET\r\nQUIT\r\n")
    assert made.take_sent() == (b"220 mail.test ESMTP Postfix\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n")


@feeds
def test_a_token_that_is_refused(feed: Feed) -> None:
    made = player(encrypted=True, mechanisms={"XOAUTH2": partial(XOAuth2Server, {"status": "401"})})
    converse(made, READY.replace("STARTTLS", "AUTH XOAUTH2"))
    made.refusals[events.Credentials] = replies.AUTHENTICATION_FAILED
    dialogue = f"""
        C: AUTH PLAIN
        S: 504 5.5.4 Use AUTH PLAIN or AUTH LOGIN
        C: AUTH XOAUTH2
        S: 334
        C: {TOKEN}
        S: 334 {REASONS}
        C:
        S: 535 5.7.8 User name or password is wrong
        C: AUTH XOAUTH2 {TOKEN}
        S: 334 {REASONS}
        C: *
        S: 501 5.7.0 Sign-in cancelled
    """
    converse(made, dialogue, feed)
    # Nobody knows whether the token is good.
    made.refusals[events.Credentials] = replies.AUTHENTICATION_UNAVAILABLE
    converse(made, f"C: AUTH XOAUTH2 {TOKEN}\nS: 454 4.7.0 Sign-in cannot be checked now", feed)
    del made.refusals[events.Credentials]
    converse(made, f"C: AUTH XOAUTH2 {TOKEN}\nS: 235 2.7.0 Signed in", feed)
    credentials = made.heard[-1]
    assert isinstance(credentials, events.Credentials)
    assert (credentials.user, credentials.secret, credentials.mechanism) == ("scan", "ya29", "XOAUTH2")
    assert TOKEN not in str(made.core._recorder._transcript)


@feeds
def test_a_message_octet_for_octet(feed: Feed) -> None:
    made = player(content_as_it_is=True)
    converse(made, READY + SENDER + RECIPIENT)
    made.feed(b"DATA\r\n")
    for octets in feed(b"a\nb\r..c\r\n..d\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nBDAT 2 LAST\r\nx\n"):
        made.feed(octets)
    assert [content for _, _, content in made.messages] == [b"a\nb\r..c\r\n.d\r\n", b"x\n"]


def test_how_much_of_a_chunk_is_to_come() -> None:
    made = player()
    converse(made, READY + SENDER + RECIPIENT)
    assert made.core.chunk_left == 0
    made.feed(b"BDAT 5 LAST\r\nab")
    assert made.core.chunk_left == 3
    made.feed(b"cde")
    assert made.core.chunk_left == 0


def test_a_line_that_the_caller_refuses() -> None:
    made = player(encrypted=True)
    made.core.refuse(b"NOOP x", replies.LINE_TOO_LONG)
    made.feed(b"EHLO a\r\nAUTH PLAIN\r\n")
    made.take_sent()
    made.core.refuse(b"aHVudGVyMg==", replies.LINE_TOO_LONG)
    made.drain()
    assert made.take_sent() == b"500 5.5.2 The line is too long\r\n"
    assert made.core.state is State.READY
    transcript = str(made.core._recorder._transcript)
    assert "C: NOOP …" in transcript
    assert "aHVudGVyMg" not in transcript


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("plain", "AUTH plain"),
        ("XOAUTH2 x", "AUTH XOAUTH2 •••"),
        ("SCRAM-SHA-256-PLUS", "AUTH SCRAM-SHA-256-PLUS"),
        ("hunter2", "AUTH •••"),
        ("hunter2 x", "AUTH •••"),
        ("", "AUTH"),
    ],
)
def test_a_password_in_the_place_of_a_mechanism(argument: str, shown: str) -> None:
    made = player(encrypted=True)
    made.feed(f"EHLO a\r\nAUTH {argument}\r\n".encode())
    assert shown in [line.removeprefix("C: ") for line in made.core._recorder._transcript.lines]

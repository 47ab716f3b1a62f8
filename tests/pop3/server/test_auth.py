"""AUTH, at a server that was told to offer mechanisms; and other words for its responses."""

from __future__ import annotations

import base64
from functools import partial

import pytest

from mailslot import Transcript
from mailslot.pop3.server import events, replies
from mailslot.pop3.server.offers import Offers
from mailslot.pop3.server.protocol import Pop3ServerProtocol
from mailslot.sasl.bearer_server import XOAuth2Server
from mailslot.sasl.server import SERVER_MECHANISMS
from server_play import FEEDS, Feed, converse

from .play import Player, player

MECHANISMS = {**SERVER_MECHANISMS, "XOAUTH2": partial(XOAuth2Server, {"status": "401"})}
feeds = pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


TOKEN = b64("user=fax\x01auth=Bearer ya29\x01\x01")


def offering() -> Player:
    return player(encrypted=True, mechanisms=MECHANISMS)


@feeds
def test_sign_ins(feed: Feed) -> None:
    made = offering()
    dialogue = f"""
        C: CAPA
        S: +OK Capabilities follow
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: USER
        S: SASL PLAIN LOGIN XOAUTH2
        S: .
        C: AUTH
        S: -ERR There is no such mechanism
        C: AUTH NTLM
        S: -ERR There is no such mechanism
        C: AUTH PLAIN !!!
        S: -ERR This response cannot be decoded
        C: auth login
        S: + VXNlcm5hbWU6
        C: {b64("fax")}
        S: + UGFzc3dvcmQ6
        C: *
        S: -ERR Sign-in cancelled
        C: AUTH PLAIN {b64(chr(0) + "fax" + chr(0) + "open sesame")}
        S: +OK 3 messages
        C: AUTH PLAIN
        S: -ERR Already signed in
        C: STAT
        S: +OK 3 {sum(map(len, made.mails))}
    """
    converse(made, dialogue, feed)
    (credentials,) = made.heard
    assert credentials == events.Credentials("fax", credentials.secret, "PLAIN")
    assert credentials.secret == "open sesame"
    assert b64("fax") not in str(made.core._recorder._transcript)


@feeds
def test_a_refusal_is_explained_and_follows_the_acknowledgement(feed: Feed) -> None:
    made = offering()
    made.refusals[events.Credentials] = replies.AUTHENTICATION_FAILED
    dialogue = f"""
        C: AUTH XOAUTH2 {TOKEN}
        S: + {b64('{"status":"401"}')}
        C:
        S: -ERR [AUTH] User name or password is wrong
        C: AUTH XOAUTH2 {TOKEN}
        S: + {b64('{"status":"401"}')}
        C: *
        S: -ERR Sign-in cancelled
        C: AUTH PLAIN {b64(chr(0) + "a" + chr(0) + "b")}
        S: -ERR [AUTH] User name or password is wrong
    """
    converse(made, dialogue, feed)
    # Nobody knows whether the token is good.
    made.refusals[events.Credentials] = replies.UNAVAILABLE
    converse(made, f"C: AUTH XOAUTH2 {TOKEN}\nS: -ERR [SYS/TEMP] The mailbox cannot be opened now", feed)
    transcript = str(made.core._recorder._transcript)
    assert "C: AUTH XOAUTH2 •••\nS: +\nC: \nS: -ERR [AUTH]" in transcript
    assert TOKEN not in transcript


def test_before_tls() -> None:
    made = player(mechanisms=MECHANISMS)
    converse(made, "C: AUTH PLAIN\nS: -ERR [AUTH] Sign in only after STLS")


def test_a_response_that_is_too_long_ends_the_exchange() -> None:
    made = offering()
    made.feed(b"AUTH PLAIN\r\n" + b"x" * 20_000 + b"\r\nNOOP\r\n")
    assert made.take_sent() == b"+ \r\n-ERR The line is too long\r\n-ERR Sign in first\r\n"


def test_other_words() -> None:
    wording = {replies.READY: replies.ok("Dovecot ready."), replies.GOODBYE: replies.ok("Logging out.")}
    made = Player(Pop3ServerProtocol(Offers(), Transcript(), wording=wording))
    made.core.greet()
    made.core.refuse(b"PASS open sesame", replies.LINE_TOO_LONG)
    made.feed(b"QUIT\r\n")
    assert made.take_sent() == b"+OK Dovecot ready.\r\n-ERR The line is too long\r\n+OK Logging out.\r\n"
    assert "sesame" not in str(made.core._recorder._transcript)

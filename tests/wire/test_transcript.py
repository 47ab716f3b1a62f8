"""The recorded dialogue, the text of replies, and detection of other protocols."""

from __future__ import annotations

import pytest

from mailslot import Reply, Transcript
from mailslot.wire.peer_detection import may_be_other_protocol, not_a_reply_error
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.transcript import MAX_LINE, MAX_LINES


def test_both_sides_and_events() -> None:
    transcript = Transcript()
    transcript.server("220 ready")
    transcript.client("EHLO [192.0.2.7]")
    transcript.server("250-mail\n250 SIZE")
    transcript.event("encrypted from here on")
    assert transcript.lines == [
        "S: 220 ready",
        "C: EHLO [192.0.2.7]",
        "S: 250-mail",
        "S: 250 SIZE",
        "*  encrypted from here on",
    ]
    assert str(transcript) == "\n".join(transcript.lines)


def test_it_is_bounded() -> None:
    transcript = Transcript()
    for number in range(MAX_LINES + 10):
        transcript.client(str(number))
    assert len(transcript.lines) == MAX_LINES
    assert transcript.lines[0] == "C: 10"
    transcript.client("x" * MAX_LINE)
    transcript.server("x" * (MAX_LINE + 1))
    assert transcript.lines[-2:] == ["C: " + "x" * MAX_LINE, "S: " + "x" * MAX_LINE + "…"]


def test_control_characters_are_replaced() -> None:
    transcript = Transcript()
    transcript.client("a\r\nS: forged\x1b[2J\u2028\x85\0")
    transcript.server("a\x1b\r")
    assert transcript.lines == ["C: a��S: forged�[2J���", "S: a��"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(535, "5.7.8", "no", positive=False), "535 5.7.8 no"),
        (Reply(250, None, "", positive=True), "250"),
        (Reply(None, "IN-USE", "locked", positive=False), "-ERR [IN-USE] locked"),
        (Reply(None, None, "hello", positive=True), "+OK hello"),
    ],
)
def test_reply_formatting(reply: Reply, words: str) -> None:
    assert str(reply) == words


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(535, "5.7.8", " not\nhere ", positive=False), "not here"),
        (Reply(535, "5.7.8", "", positive=False), "5.7.8"),
        (Reply(535, None, "\n", positive=False), "535"),
        (Reply(None, None, "", positive=False), "no reason given"),
    ],
)
def test_the_text_of_a_reply(reply: Reply, words: str) -> None:
    assert reply.one_line == words


@pytest.mark.parametrize(
    ("octets", "cause"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "tls_port_mismatch"),
        (b"\x16\x03\x03", "tls_port_mismatch"),
        (b"HTTP/1.1 400 Bad Request", "not_a_mail_server"),
        (b"<html>", "not_a_mail_server"),
        (b"+OK", "not_a_mail_server"),
        (b"-ERR", "not_a_mail_server"),
        (b"* OK", "not_a_mail_server"),
        (b"SSH-2.0", "not_a_mail_server"),
        (b"220 ftp", "not_a_mail_server"),
        (b"\xff\x00hello", "protocol_error"),
    ],
)
def test_other_protocols_are_detected(octets: bytes, cause: str) -> None:
    error = not_a_reply_error(octets)
    assert isinstance(error, RemoteProtocolError)
    assert error.cause == cause
    assert str(error).isascii()
    assert str(error).isprintable()


@pytest.mark.parametrize("octets", [b"", b"\x15", b"\x16", b"H", b"HTTP", b"S", b"*"])
def test_too_few_octets_to_decide(octets: bytes) -> None:
    assert may_be_other_protocol(octets)


@pytest.mark.parametrize("octets", [b"\x15\x01", b"Hello", b"x", b"SMTP"])
def test_enough_octets_to_decide(octets: bytes) -> None:
    assert not may_be_other_protocol(octets)

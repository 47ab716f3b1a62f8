"""Status lines and challenges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import Reply
from mailslot.pop3.replies import check_reply_prefix, parse_challenge, parse_status
from mailslot.wire.protocol_error import RemoteProtocolError


@pytest.mark.parametrize(
    ("line", "enhanced", "text", "positive"),
    [
        (b"+OK", None, "", True),
        (b"+OK ", None, "", True),
        (b"+OK dewey POP3 server signing off", None, "dewey POP3 server signing off", True),
        (b"+OK\tready", None, "ready", True),
        (b"+OK<1896.697170952@dbc.mtview.ca.us>", None, "<1896.697170952@dbc.mtview.ca.us>", True),
        # RFC 2449 section 8: a response code explains a refusal.
        (b"+OK [AUTH] welcome", None, "[AUTH] welcome", True),
        (b"-ERR", None, "", False),
        (
            b"-ERR [IN-USE] Do you have another POP session running?",
            "IN-USE",
            "Do you have another POP session running?",
            False,
        ),
        (b"-ERR [sys/temp] later", "SYS/TEMP", "later", False),
        (b"-ERR [AUTH]", "AUTH", "", False),
        (b"-ERR [LOGIN-DELAY]wait", "LOGIN-DELAY", "wait", False),
        (b"-ERR [X-NEW/deep/er] what", "X-NEW/DEEP/ER", "what", False),
        (b"-ERR   [UTF8] x", "UTF8", "x", False),
        (b"-ERR no [AUTH] at its beginning", None, "no [AUTH] at its beginning", False),
        (b"-ERR [two words] x", None, "[two words] x", False),
        (b"-ERR [] x", None, "[] x", False),
        (b"-ERR [AUTH x", None, "[AUTH x", False),
        (b"-ERR [" + b"A" * 65 + b"] x", None, "[" + "A" * 65 + "] x", False),
        (b"-ERR gr\xc3\xbc\xc3\x9fe", None, "grüße", False),
        (b"-ERR \xff", None, "\\xff", False),
    ],
)
def test_status(line: bytes, enhanced: str | None, text: str, positive: bool) -> None:
    assert parse_status(line) == Reply(None, enhanced, text, positive)


@pytest.mark.parametrize("octet", [*range(32), 127])
def test_control_characters_are_removed(octet: int) -> None:
    line = b"-ERR a" + bytes([octet]) + b"[2J"
    assert parse_status(line).text == ("a [2J" if octet == 9 else "a\N{REPLACEMENT CHARACTER}[2J")


@pytest.mark.parametrize("text", ["a\u009b2Jb", "a\u202eb", "a\u2028b"])
def test_unicode_control_characters_are_removed(text: str) -> None:
    assert parse_status(b"+OK " + text.encode()).text.startswith("a\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"", "protocol_error"),
        (b"+ok", "protocol_error"),
        (b"-err", "protocol_error"),
        (b"+OKAY", "not_a_mail_server"),
        (b"-ERROR", "not_a_mail_server"),
        (b"+OK1", "not_a_mail_server"),
        (b" +OK", "protocol_error"),
        (b"OK", "protocol_error"),
        (b"+", "protocol_error"),
        (b"+ e30=", "protocol_error"),
        (b"220 smtp.example.com ESMTP", "not_a_mail_server"),
        (b"* OK IMAP4rev1", "not_a_mail_server"),
        (b"HTTP/1.1 400 Bad Request", "not_a_mail_server"),
        (b"SSH-2.0-OpenSSH", "not_a_mail_server"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "tls_port_mismatch"),
    ],
)
def test_invalid_status_lines(line: bytes, cause: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_status(line)
    assert caught.value.cause == cause


@pytest.mark.parametrize(
    ("line", "challenge"),
    [
        (b"+ ", ""),
        (b"+", ""),
        (b"+ e30=", "e30="),
        (b"+  e30=", " e30="),
        (b"+ go ahead", "go ahead"),
        (b"+ \xff", "\\xff"),
        (b"+OK", None),
        (b"+e30=", None),
        (b"-ERR", None),
        (b" + ", None),
        (b"", None),
    ],
)
def test_challenge(line: bytes, challenge: str | None) -> None:
    """RFC 5034 section 4; some servers leave the space out where nothing follows."""
    assert parse_challenge(line) == challenge


def is_line(line: bytes) -> bool:
    if parse_challenge(line) is not None:
        return True
    try:
        parse_status(line)
    except RemoteProtocolError:
        return False
    return True


@pytest.mark.parametrize("line", [b"+OK", b"+OK x", b"-ERR", b"-ERR [AUTH] x", b"+", b"+ ", b"+ e30="])
def test_every_prefix_of_a_line_is_a_possible_prefix(line: bytes) -> None:
    for end in range(len(line) + 1):
        check_reply_prefix((line + b"\r")[:end])
    check_reply_prefix(line + b"\r")


@given(st.text("+-OKER [x\r", max_size=6).map(str.encode))
def test_a_refused_prefix_is_never_a_valid_line(octets: bytes) -> None:
    try:
        check_reply_prefix(octets)
    except RemoteProtocolError:
        assert not is_line(octets.removesuffix(b"\r"))
        assert not any(
            is_line(octets + more) for more in (b"", b"+OK", b"-ERR", b" ", b"K", b"OK", b"R", b"RR", b"ERR")
        )


@pytest.mark.parametrize(
    ("octets", "cause"),
    [
        (b"\x15\x03\x01", "tls_port_mismatch"),
        (b"\x16\x03\x03", "tls_port_mismatch"),
        (b"220 ", "not_a_mail_server"),
        (b"* O", "not_a_mail_server"),
        (b"HTTP/1", "not_a_mail_server"),
        (b"HTX", "protocol_error"),
        (b"3", "protocol_error"),
        (b"+X", "protocol_error"),
        (b"-F", "protocol_error"),
        (b"-ERRO", "not_a_mail_server"),
        (b"+OKA", "not_a_mail_server"),
        (b"\r", "protocol_error"),
        (b" ", "protocol_error"),
    ],
)
def test_other_protocols_are_detected_early(octets: bytes, cause: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_reply_prefix(octets)
    assert caught.value.cause == cause
    if cause != "protocol_error" and octets[:1] not in b"+-":
        for end in range(len(octets)):
            check_reply_prefix(octets[:end])

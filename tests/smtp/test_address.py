"""Addresses: what can be sent, and what could be something else (ST-14)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import InputError
from mailslot.smtp.address import parse_address, parse_sender
from mailslot.smtp.protocol import SmtpProtocol


@pytest.mark.parametrize(
    ("given_", "wire"),
    [
        ("a@example.com", "a@example.com"),
        ("first.last+tag@Example.COM", "first.last+tag@Example.COM"),
        ("FAX=+390408565@example.com", "FAX=+390408565@example.com"),
        ("..dots..@docomo.example", "..dots..@docomo.example"),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),
        ('"quoted string"@example.com', '"quoted string"@example.com'),
        (r'"a\"b\\c@d>"@example.com', r'"a\"b\\c@d>"@example.com'),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@faß.example", "a@xn--fa-hia.example"),
        ("a@例え。テスト", "a@xn--r8jz45g.xn--zckzah"),
        ("a@ｅｘａｍｐｌｅ.com", "a@example.com"),
        ("a@example。com。", "a@example.com"),
        ("ü@bücher.example", "ü@xn--bcher-kva.example"),
        ("a@under_score.example", "a@under_score.example"),
        ("a@localhost", "a@localhost"),
        ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
    ],
)
def test_addresses(given_: str, wire: str) -> None:
    address = parse_address(given_, "recipient")
    assert address.original == given_
    assert address.wire == wire
    assert address.smtputf8 == (not wire.isascii())


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("Bob@Example.COM", "bob@example.com"),
        ('"bob"@example.com', "bob@example.com"),
        ('"b\\o\\"b"@example.com', 'bo"b@example.com'),
        ('"a@b"@example.com', "a@b@example.com"),
    ],
)
def test_the_form_in_which_addresses_are_compared(written: str, canonical: str) -> None:
    assert parse_address(written, "recipient").canonical == canonical


def test_the_null_sender() -> None:
    assert parse_sender("").wire == ""
    assert not parse_sender("").smtputf8
    assert parse_sender("a@example.com").wire == "a@example.com"
    with pytest.raises(InputError):
        parse_address("", "recipient")


INJECTIONS = [
    "a@example.com\r\nRCPT TO:<b@example.com>",
    "a@example.com\n",
    "\ra@example.com",
    "a\r\n@example.com",
    "a@exa\nmple.com",
    "a\0@example.com",
    '"a\r\nb"@example.com',
    '"a\nb"@example.com',
    '"a\\\nb"@example.com',
    '"a\\\rb"@example.com',
    '"a\x85b"@example.com',
    "a\x85b@example.com",
    "a\u2028b@example.com",
    "a\u2029b@example.com",
    "a@example.com> SIZE=1",
    "a@example.com>",
    "<a@example.com>",
    "a<b@example.com",
    "a>b@example.com",
    "a b@example.com",
    "a\tb@example.com",
    " a@example.com",
    "a@example.com ",
    "a @example.com",
    "a@ example.com",
    "a@example.com SMTPUTF8",
    "a,b@example.com",
    "a;b@example.com",
    "a:b@example.com",
    "a(b)@example.com",
    "a[b]@example.com",
    "a\\b@example.com",
    '"a"b"@example.com',
    '"a\\"@example.com',
    '"@example.com',
    "a@b@example.com",
    "Name <a@example.com>",
    "@relay.example:a@example.com",
    "",
    "a",
    "a@",
    "@example.com",
    "@",
    "a@.example.com",
    "a@example.com.",
    "a@example..com",
    "a@-example.com",
    "a@example-.com",
    "a@exa mple.com",
    "a@exa＞mple.com",
    "a@exa mple.com",
    "a@exa\u3000mple.com",
    "a@exämple.com>",
    "a@exämple.com\r\n",
    "a@ex\u0000ämple.com",
    "a@[192.0.2.1",
    "a@192.0.2.1]",
    "a@[192.0.2.1]]",
    "a@[192.0.2.1\r\n]",
    "a@[IPv6:fe80::1%eth0]",
    "a@[evil>]",
    "a\u200b@example.com",
    "a\u202e@example.com",
    "a\u00ad@example.com",
    "a\ufeff@example.com",
    "a\ue000@example.com",
    '"a\u00a0b"@example.com',
    "a\ud800@example.com",
    "a@\ud800.example.com",
    "x" * 65 + "@example.com",
    "ü" * 33 + "@example.com",
    "a@" + "x" * 64 + "." + "y" * 190 + ".com",
    "a@" + ".".join(["ü" * 10] * 30),
]


@pytest.mark.parametrize("given_", INJECTIONS, ids=ascii)
def test_invalid_addresses(given_: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_address(given_, "recipient")
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.stage == "envelope"
    assert error.cause == "invalid_input"
    assert not error.retryable
    assert str(error).isprintable()
    assert len(str(error)) < 300


@pytest.mark.parametrize("given_", [None, 7, b"a@example.com", ["a@example.com"], object()])
def test_values_that_are_not_strings(given_: object) -> None:
    with pytest.raises(InputError, match="not text"):
        parse_address(given_, "recipient")  # type: ignore[arg-type]  # that is what is tested
    with pytest.raises(InputError):
        parse_sender(given_)  # type: ignore[arg-type]  # that is what is tested


def core() -> SmtpProtocol:
    protocol = SmtpProtocol()
    protocol.receive(b"220 mail\r\n")
    protocol.next_event()
    protocol.ehlo("me")
    protocol.receive(b"250 mail\r\n")
    protocol.next_event()
    return protocol


pieces = st.one_of(
    st.text(max_size=8),
    st.text(st.sampled_from('<>"\\@.,; \t\r\n\0\x7f\x85\u2028\u200d\u200büß。＞-_[]:'), max_size=8),
    st.sampled_from(["example.com", "a", "xn--bcher-kva.example"]),
)


@given(pieces, pieces, st.booleans())
def test_accepted_addresses_are_one_sendable_line(local: str, domain: str, quoted: bool) -> None:
    given_ = f'"{local}"@{domain}' if quoted else f"{local}@{domain}"
    try:
        address = parse_address(given_, "recipient")
    except InputError:
        return
    line = core().mail(address)
    assert line == f"MAIL FROM:<{address.wire}>\r\n".encode()
    assert line.count(b"\r") == line.count(b"\n") == 1
    assert line.count(b">") == 1 or '"' in address.wire
    domain = address.wire.rpartition("@")[2]
    assert domain.isascii()
    assert re.fullmatch(r"[A-Za-z0-9._-]+|\[[A-Za-z0-9.:]+\]", domain)

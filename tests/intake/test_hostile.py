"""Odd and hostile mails: opened or refused, within the limits."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.opening import open_mail
from mailslot_plugins.intake.refusal import IntakeRefusedError

HEAD = b"From: alice@example.test\r\nReturn-Path: <alice@example.test>\r\nSubject: status\r\nMessage-ID: <1@x>\r\n"
MANY = 256 * 1024


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Type: text/plain; charset=klingon\r\n",
        b"Content-Type: text/plain; charset*=utf-8''%FF%FE\r\n",
        b'Content-Type: text/plain; charset="utf-8\0"\r\n',
        b"Content-Type: text/plain; charset=idna\r\n",
        b"Content-Type: text/plain; charset=rot13\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: uuencode\r\n",
        b"Content-Type: ;;;\r\n",
        b"Subject: =?utf-8?B?a?=\r\n",
        b"Content-Type: application/pdf; charset=idna; name=x\r\n",
        b"Content-Type: application/pdf; charset*0*=x\0''%FF\r\n",
        b"Content-Disposition: attachment; filename*=utf-8\0''%FF\r\n",
        b"Subject: =?klingon?B?AAAA?= =?utf-8?B?!!!?= =?utf-8?X?y?=\r\n",
        b"From: \xff\xfe@x\r\nTo: " + b"a@b.test, " * 20_0 + b"\r\n",
        b"References: " + b"<x@y> " * 300 + b"\r\n",
    ],
)
def test_odd_mails_are_read(field: bytes) -> None:
    open_mail(field + HEAD + b"\r\n\xff\xfestatus\r\n")


def nested(depth: int) -> bytes:
    parts = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(depth))
    return HEAD + parts + b"\r\nstatus\r\n"


@pytest.mark.parametrize(
    "octets",
    [
        nested(3000),
        HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 3000,
        HEAD + b"To: " + b"(" * 3000 + b"\r\n\r\n",
        b"From: " + b"(" * 1900 + b" a@b.test\r\n\r\n",
        b"From: " + b'"' * 1900 + b" a@b.test\r\n\r\n",
        HEAD + b"X: y\r\n" * 20_000 + b"\r\n",
        HEAD + b"X: " + b"y" * 300_000 + b"\r\n\r\n",
        HEAD + b"To: " + b"a@b.test, " * 20_000 + b"\r\n\r\n",
        b"From: " + b"a@b.test, " * 6_000 + b"\r\n\r\n",
        b"Subject: " + b"=?utf-8?q?a?= " * 4_000 + b"\r\n\r\nstatus\r\n",
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<" * MANY,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<style>" * 40_000,
        HEAD + b"Content-Type: multipart/mixed; boundary=" + b"a" * 1900 + b"\r\n\r\n" + b"--a\r\n" * 40_000,
        HEAD + b"Content-Type: text/plain; " + b"a*0*=x; " * 5000 + b"\r\n\r\n",
        b"\0" * 300_000,
        b"",
    ],
    ids=lambda octets: f"{octets[90:130]!r}",
)
def test_hostile_mails_take_no_time(octets: bytes) -> None:
    began = time.process_time()
    # Whatever else it is, the process that it happens in ends with it.
    with suppress(IntakeRefusedError, RecursionError):
        open_mail(octets)
    assert time.process_time() - began < 2


@given(st.binary(max_size=400))
def test_arbitrary_octets_are_handled(octets: bytes) -> None:
    for mail in (octets, HEAD + octets, HEAD + b"\r\n" + octets):
        with suppress(IntakeRefusedError):
            open_mail(mail)

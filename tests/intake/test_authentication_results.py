"""Authentication-Results of a trusted server, and forged ones."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailslot_plugins.intake.authentication_results import (
    MethodResult,
    authentication_refusal,
    parse_authentication_results,
)
from mailslot_plugins.intake.mail import OpenedMail

SERVER = "mx.example.net"


def mail(*values: str) -> OpenedMail:
    fields = tuple(("authentication-results", value) for value in values)
    return OpenedMail(fields, ("alice@example.com",), "", "", "", (), "", (), is_report=False, defects=(), report=None)


def test_a_field_as_gmail_writes_it() -> None:
    value = (
        'mx.google.com;\r\n       dkim=pass header.i=@Example.com header.s=s1 header.b="Ab/c=";\r\n'
        "       spf=pass (google.com: domain of alice@example.com designates 192.0.2.1 (really) as permitted sender)"
        " smtp.mailfrom=alice@example.com;\r\n       dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=example.com"
    )
    name, results = parse_authentication_results(value)
    assert name == "mx.google.com"
    assert results == (
        MethodResult("dkim", "pass", {"header.i": "@example.com", "header.s": "s1", "header.b": "ab/c="}),
        MethodResult("spf", "pass", {"smtp.mailfrom": "alice@example.com"}),
        MethodResult("dmarc", "pass", {"header.from": "example.com"}),
    )


@pytest.mark.parametrize(
    ("values", "genuine"),
    [
        (["mx.example.net; dmarc=pass header.from=example.com"], True),
        (["MX.Example.NET 1; dmarc=PASS (p=none) header.from=EXAMPLE.com"], True),
        (["mx.example.net; dkim=pass header.d=example.com"], True),
        (["mx.example.net; dkim=fail header.d=example.com; spf=pass smtp.mailfrom=example.com"], True),
        (
            ["other.example; dmarc=fail header.from=example.com", "mx.example.net; dmarc=pass header.from=example.com"],
            True,
        ),
        ([], False),
        (["mx.example.net; none"], False),
        (["mx.example.net 2; dmarc=pass header.from=example.com"], False),
        (["mx.example.net; dmarc/2=pass header.from=example.com"], False),
        (["mx.example.net; dmarc=fail header.from=example.com; dkim=pass header.d=example.com"], False),
        (["mx.example.net; dmarc=pass header.from=evil.example"], False),
        (["mx.example.net; dmarc=pass header.from=example.com.evil.example"], False),
        (["mx.example.net; dkim=pass header.d=evil.example"], False),
        (["mx.example.net; spf=pass smtp.helo=example.com"], False),
        (["mx.example.net; dmarc=fail", "mx.example.net; dmarc=pass header.from=example.com"], False),
        (['evil.example; x=pass reason="; mx.example.net; dmarc=pass header.from=example.com"'], False),
        (["mx.example.net (; dmarc=pass header.from=example.com"], False),
        (['mx.example.net; x=y reason="; dmarc=pass header.from=example.com'], False),
        (["(" * 4000 + "mx.example.net; dmarc=pass header.from=example.com"], False),
    ],
)
def test_genuine_senders(values: list[str], genuine: bool) -> None:
    assert (authentication_refusal(mail(*values), SERVER, "alice@example.com") == "") is genuine


@example("1;/=1")
@given(st.text(alphabet=' ;=()"\\abdmrc.pass/1', max_size=200))
def test_any_field_can_be_parsed(value: str) -> None:
    name, results = parse_authentication_results(value)
    assert name == name.casefold()
    assert all(result.method for result in results)

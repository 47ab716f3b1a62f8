"""The Received field."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_string

import pytest

from mailslot.net.peer import Peer, TlsInfo
from mailslot.smtp.server.backend import Connection
from mailslot.smtp.server.trace import received_value, transmission_type

WHEN = datetime(2026, 11, 29, 23, 59, 1, tzinfo=UTC)
TLS = TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)


def connection(hello: str | None = "NPIF65E56", *, address: str = "10.0.3.7", tls: TlsInfo | None = TLS) -> Connection:
    return Connection(Peer("scan", address, 50_000, tls=tls), 0, hello=hello, esmtp=True, user="scan")


def test_a_received_field() -> None:
    value = received_value(connection(), host="gate.example", job="J1", when=WHEN, recipient="b@example.com")
    assert value.split("\r\n\t") == [
        "from NPIF65E56 ([10.0.3.7])",
        "by gate.example with ESMTPSA id J1",
        "(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256)",
        "for <b@example.com>;",
        "Sun, 29 Nov 2026 23:59:01 +0000",
    ]
    assert message_from_string(f"Received: {value}\r\n\r\n")["Received"].endswith("+0000")


@pytest.mark.parametrize(
    ("hello", "shown"),
    [
        ("me.example", "me.example"),
        ("[192.0.2.7]", "[192.0.2.7]"),
        ("[IPv6:2001:db8::7]", "[IPv6:2001:db8::7]"),
        ("", "[IPv6:2001:db8::1]"),
        (None, "[IPv6:2001:db8::1]"),
        ("my copier", "[IPv6:2001:db8::1]"),
        ("x\r\nEvil: 1", "[IPv6:2001:db8::1]"),
        ("x" * 256, "[IPv6:2001:db8::1]"),
        ("büro", "[IPv6:2001:db8::1]"),
    ],
)
def test_what_a_device_calls_itself(hello: str | None, shown: str) -> None:
    made = connection(hello, address="2001:db8::1", tls=None)
    value = received_value(made, host="gate.example", job="J1", when=WHEN)
    assert value.split("\r\n\t")[0] == f"from {shown} ([IPv6:2001:db8::1])"
    assert value.count("\r\n") == 2


@pytest.mark.parametrize(
    ("esmtp", "tls", "user", "name"),
    [
        (False, None, None, "SMTP"),
        (True, None, None, "ESMTP"),
        (True, TLS, None, "ESMTPS"),
        (True, None, "scan", "ESMTPA"),
        (True, TLS, "scan", "ESMTPSA"),
        (False, TLS, None, "ESMTPS"),
    ],
)
def test_transmission_types(esmtp: bool, tls: TlsInfo | None, user: str | None, name: str) -> None:
    assert transmission_type(Connection(Peer("scan", "10.0.3.7", 1, tls=tls), 0, esmtp=esmtp, user=user)) == name

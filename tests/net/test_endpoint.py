"""Endpoints: names that can be looked up, and ports."""

from __future__ import annotations

import pytest

from mailslot import Endpoint, InputError, Security


@pytest.mark.parametrize(
    ("host", "ascii_host"),
    [
        ("smtp.example.com", "smtp.example.com"),
        ("SMTP.Example.COM", "smtp.example.com"),
        ("smtp.example.com.", "smtp.example.com"),
        ("localhost", "localhost"),
        ("mail_server.example", "mail_server.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("192.0.2.1", "192.0.2.1"),
        ("[192.0.2.1]", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_hosts(host: str, ascii_host: str) -> None:
    endpoint = Endpoint(host, 587, Security.STARTTLS)
    assert endpoint.ascii_host == ascii_host
    assert endpoint.host == host


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        "a b",
        "a\r\nb",
        "a\0b",
        "a/b",
        "a:b",
        "a@b",
        "smtp.example.com:587",
        "smtp://example.com",
        "[]",
        "[x]",
        "fe80::1%a b",
        "fe80::1%\r\n",
        "ü" * 64,
        "ü..b",
        "a\ud800b",
        "\u200b.example",
        None,
        7,
        b"localhost",
    ],
)
def test_invalid_hosts(host: object) -> None:
    with pytest.raises(InputError) as caught:
        Endpoint(host, 587, Security.STARTTLS)  # type: ignore[arg-type]  # that is what is tested
    assert caught.value.stage == "resolve"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("port", [1, 25, 587, 65535])
def test_ports(port: int) -> None:
    assert Endpoint("localhost", port, Security.TLS).port == port


@pytest.mark.parametrize("port", [0, -1, 65536, "587", 587.0, None])
def test_invalid_ports(port: object) -> None:
    with pytest.raises(InputError, match="port"):
        Endpoint("localhost", port, Security.TLS)  # type: ignore[arg-type]  # that is what is tested


@pytest.mark.parametrize("security", ["tls", None, True])
def test_invalid_security(security: object) -> None:
    with pytest.raises(InputError, match="security"):
        Endpoint("localhost", 587, security)  # type: ignore[arg-type]  # that is what is tested


def test_as_text() -> None:
    assert str(Endpoint("smtp.example.com", 587, Security.STARTTLS)) == "smtp.example.com:587 (starttls)"

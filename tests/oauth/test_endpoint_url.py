"""Which URLs a secret may be sent to."""

from __future__ import annotations

import pytest

from mailslot import InputError
from mailslot.oauth.endpoint_url import check_endpoint_url


@pytest.mark.parametrize(
    "address",
    [
        "https://issuer.example/token",
        "https://issuer.example:8443/a/b?tenant=x",
        "https://[2001:db8::1]/token",
        "http://localhost:8080/token",
        "http://LOCALHOST/token",
        "http://127.0.0.1:1/token",
        "http://127.8.9.10/token",
        "http://[::1]:9/token",
    ],
)
def test_usable(address: str) -> None:
    check_endpoint_url(address, "token endpoint")


@pytest.mark.parametrize(
    ("address", "because"),
    [
        ("", "empty"),
        ("http://issuer.example/token", "clear"),
        ("http://192.168.1.1/token", "clear"),
        ("http://localhost.example/token", "clear"),
        ("http://127.0.0.1.example/token", "clear"),
        ("http://0.0.0.0/token", "clear"),
        ("ftp://issuer.example/token", "https://"),
        ("issuer.example/token", "https://"),
        ("https:///token", "https://"),
        ("https://", "https://"),
        ("file:///etc/passwd", "https://"),
        ("https://user@issuer.example/", "user name"),
        ("https://user:hunter2@issuer.example/", "user name"),
        ("https://user:hunter2@issuer.example:x/", "not an address"),
        ("http://localhost@issuer.example/", "user name"),
        ("https://issuer.example/#x", "fragment"),
        ("https://issuer.example/#", "fragment"),
        ("http://localhost\\@issuer.example/", "characters"),
        ("https://issuer.example/ token", "characters"),
        ("https://issuer.example/\ntoken", "characters"),
        ("https://issuer.example/\u00e9", "characters"),
        ("https://iss\u200ber.example/", "characters"),
        ("https://issuer.example:99999/", "not an address"),
        ("https://issuer.example:0/", "https://"),
        ("https://issuer.example:x/", "not an address"),
        ("https://[::1/", "not an address"),
    ],
)
def test_unusable(address: str, because: str) -> None:
    with pytest.raises(InputError, match="token endpoint") as caught:
        check_endpoint_url(address, "token endpoint")
    assert because in str(caught.value)
    assert str(caught.value).isascii()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_issuer_has_no_query() -> None:
    check_endpoint_url("https://issuer.example/a", "issuer", issuer=True)
    with pytest.raises(InputError, match="query"):
        check_endpoint_url("https://issuer.example/?a", "issuer", issuer=True)

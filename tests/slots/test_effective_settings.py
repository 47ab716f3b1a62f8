"""The values that hold where nothing is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import Security
from mailslot.slots.effective_settings import effective_settings, value_sources
from mailslot.slots.settings import Settings

if TYPE_CHECKING:
    from mailslot.slots.slot import Protocol

TLS, STARTTLS, NONE = Security.TLS, Security.STARTTLS, Security.NONE


@pytest.mark.parametrize(
    ("protocol", "settings", "server", "port", "security"),
    [
        ("SMTP", Settings(), None, 587, STARTTLS),
        ("SMTP", Settings(security=TLS), None, 465, TLS),
        ("SMTP", Settings(security=NONE), None, 25, NONE),
        ("SMTP", Settings(port=465), None, 465, TLS),
        ("SMTP", Settings(port=25), None, 25, STARTTLS),
        ("SMTP", Settings(port=2525), None, 2525, STARTTLS),
        ("POP", Settings(), None, 995, TLS),
        ("POP", Settings(security=STARTTLS), None, 110, STARTTLS),
        ("POP", Settings(security=NONE), None, 110, NONE),
        ("POP", Settings(port=110), None, 110, STARTTLS),
        ("POP", Settings(port=1995), None, 1995, TLS),
        ("SMTP", Settings(provider="microsoft365"), "smtp.office365.com", 587, STARTTLS),
        ("POP", Settings(provider="microsoft365"), "outlook.office365.com", 995, TLS),
        ("SMTP", Settings(provider="google"), "smtp.gmail.com", 587, STARTTLS),
        ("SMTP", Settings(provider="google", security=TLS), "smtp.gmail.com", 465, TLS),
        ("SMTP", Settings(provider="google", port=465), "smtp.gmail.com", 465, TLS),
        ("SMTP", Settings(provider="google", server="SMTP.gmail.com.", port=465), "SMTP.gmail.com.", 465, TLS),
        ("SMTP", Settings(provider="microsoft365", port=25), "smtp.office365.com", 25, STARTTLS),
        ("SMTP", Settings(provider="fastmail"), "smtp.fastmail.com", 465, TLS),
        ("SMTP", Settings(provider="fastmail", server="relay.example"), "relay.example", 587, STARTTLS),
        ("SMTP", Settings(provider="microsoft365-us", server="smtp.office365.us"), "smtp.office365.us", 587, STARTTLS),
        ("SMTP", Settings(provider="custom", issuer="https://idp.example"), None, 587, STARTTLS),
        ("SMTP", Settings(provider="unknown"), None, 587, STARTTLS),
    ],
)
def test_server_port_and_security(
    protocol: Protocol, settings: Settings, server: str | None, port: int, security: Security
) -> None:
    holds = effective_settings(settings, protocol)
    assert (holds.server, holds.port, holds.security) == (server, port, security)
    filled = {key for key in ("server", "port", "security") if getattr(settings, key) is None}
    assert value_sources(settings, protocol).keys() == filled - ({"server"} if server is None else set())


def test_sender_from_the_account() -> None:
    account = Settings(account="scan@example.com")
    assert effective_settings(account, "SMTP").sender_address == "scan@example.com"
    assert effective_settings(account, "POP").sender_address is None
    assert effective_settings(Settings(account="scanner"), "SMTP").sender_address is None
    own = Settings(account="scan@example.com", sender_address="copier@example.com")
    assert effective_settings(own, "SMTP").sender_address == "copier@example.com"


def test_the_origin_of_a_value() -> None:
    assert value_sources(Settings(provider="google", account="a@example.com"), "SMTP") == {
        "server": "Google",
        "port": "Google",
        "security": "Google",
        "sender_address": "the account",
    }
    assert value_sources(Settings(), "POP") == {"security": "default", "port": "default"}
    assert value_sources(Settings(port=465), "SMTP") == {"security": "the port"}
    assert value_sources(Settings(security=TLS), "SMTP") == {"port": "the encryption"}


def test_explicit_settings_are_never_replaced() -> None:
    settings = Settings(server="x.example", port=1, security=NONE, provider="google", sender_address="a@b.example")
    assert effective_settings(settings, "SMTP") == settings

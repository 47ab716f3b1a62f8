"""What can be set in a record, which values are allowed, and which combinations (design, sections 2 and 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import urlsplit

from mailslot.errors import InputError
from mailslot.net.endpoint import Endpoint, Security
from mailslot.smtp.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.slots.slot import Protocol

BOTH: Final[tuple[Protocol, ...]] = ("SMTP", "POP")

SECRETS: Final = ("password", "client_secret")
"""What is set like a setting and kept in the vault."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A record's settings; each field stands in ``mailslot.toml`` under its own name, and None means unset."""

    server: str | None = None
    secondary_server: str | None = None
    port: int | None = None
    security: Security | None = None
    timeout: int = 30
    sender_name: str | None = None
    sender_address: str | None = None
    authentication: Literal["none", "password", "pop_before_smtp", "oauth2"] = "none"
    account: str | None = None
    provider: str | None = None
    client_id: str | None = None
    tenant: str | None = None
    flow: Literal["browser", "device", "paste", "app"] | None = None
    token_source: str | None = None
    check_interval: int = 0
    ca_file: Path | None = None
    after_fetch: Literal["delete", "keep"] = "delete"
    first_poll: Literal["new", "all"] = "new"
    pop_slot: str | None = None
    issuer: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """How one key is read.

    Attributes:
        allowed: what is allowed, for people.
        parse: returns the value, from text or from what TOML gave; raises `ValueError` where it is not allowed.
        protocols: in which records it can stand.
    """

    allowed: str
    parse: Callable[[object], Any]
    protocols: tuple[Protocol, ...] = BOTH


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError
    return value.strip()


def _number(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()) else value
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise ValueError
        return number

    return parse


def _one_of(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value.strip().lower() not in choices:
            raise ValueError
        return value.strip().lower()

    return parse


def _host(value: object) -> str:
    host = _text(value)
    try:
        return Endpoint(host, 1, Security.NONE).host
    except InputError:
        raise ValueError from None


def _address(value: object) -> str:
    try:
        return parse_address(_text(value), "sender").given
    except InputError:
        raise ValueError from None


def _url(value: object) -> str:
    url = _text(value)
    parts = urlsplit(url)
    loopback = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if not parts.hostname or parts.fragment or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise ValueError
    return url


def _scopes(value: object) -> tuple[str, ...]:
    words = value.split() if isinstance(value, str) else cast("list[object]", value)
    if not isinstance(value, str | list) or not words:
        raise ValueError
    scopes = tuple(str(word) for word in words)
    if not all(re.fullmatch(r"[!#-\[\]-~]+", scope) for scope in scopes):
        raise ValueError
    return scopes


_URL: Final = Key("an https address, or http on a loopback address", _url)

KEYS: Final[Mapping[str, Key]] = {
    "server": Key("a host name or an IP address", _host),
    "secondary_server": Key("a host name or an IP address", _host, ("SMTP",)),
    "port": Key("a number from 1 to 65535", _number(1, 65535)),
    "security": Key("none, starttls or tls", lambda value: Security(_one_of("none", "starttls", "tls")(value))),
    "timeout": Key("seconds from 1 to 600", _number(1, 600)),
    "sender_name": Key("a text on one line", _text, ("SMTP",)),
    "sender_address": Key("an e-mail address", _address, ("SMTP",)),
    "authentication": Key(
        "none, password, pop_before_smtp (SMTP only) or oauth2",
        _one_of("none", "password", "pop_before_smtp", "oauth2"),
    ),
    "account": Key("a user name, mostly an e-mail address", _text),
    "provider": Key("a provider's name, or custom", lambda value: _text(value).lower()),
    "client_id": Key("the application's id, as the provider gave it", _text),
    "tenant": Key("a tenant's name or id, as the provider gave it", _text),
    "flow": Key("browser, device, paste or app", _one_of("browser", "device", "paste", "app")),
    "token_source": Key("command PROGRAM ARGUMENT…, or file PATH, for tokens that come from elsewhere", _text),
    "check_interval": Key("minutes from 0 to 1440; 0 checks by hand only", _number(0, 1440), ("POP",)),
    "ca_file": Key("the path of a file with certificates", lambda value: Path(_text(value))),
    "after_fetch": Key("delete or keep", _one_of("delete", "keep"), ("POP",)),
    "first_poll": Key("new or all", _one_of("new", "all"), ("POP",)),
    "pop_slot": Key("the id of a POP slot", _text, ("SMTP",)),
    "issuer": _URL,
    "authorization_endpoint": _URL,
    "token_endpoint": _URL,
    "device_authorization_endpoint": _URL,
    "revocation_endpoint": _URL,
    "scopes": Key("a list of scopes, or scopes separated by spaces", _scopes),
}

assert {field.name for field in fields(Settings)} == set(KEYS)  # noqa: S101 - one table must not outgrow the other


def parse_setting(key: str, value: object, protocol: Protocol) -> object:
    """Return a value as `Settings` holds it.

    Args:
        key: the setting's name.
        value: text, or what TOML gave.
        protocol: what the record is for.

    Raises:
        InputError: there is no such setting in such a record, or the value is not allowed.
    """
    known = KEYS.get(key)
    if known is None or protocol not in known.protocols:
        others = ", ".join(name for name, other in KEYS.items() if protocol in other.protocols)
        raise InputError(f"There is no setting {key!r} for {protocol}. The settings are: {others}.", stage="resolve")
    try:
        return known.parse(value)
    except ValueError:
        raise InputError(f"The setting {key} is {value!r}; it must be {known.allowed}.", stage="resolve") from None


def check_combination(settings: Settings, protocol: Protocol) -> None:
    """Refuse settings that cannot stand together.

    Raises:
        InputError: a token or password would be sent without TLS, or POP signs in by POP before SMTP.
    """
    if settings.authentication in {"oauth2", "password"} and settings.security is Security.NONE:
        raise InputError("OAuth 2.0 and passwords need encryption: set security to starttls or tls.", stage="sign_in")
    if protocol == "POP" and settings.authentication == "pop_before_smtp":
        raise InputError("POP before SMTP is a way to sign in to SMTP, not to POP.", stage="sign_in")

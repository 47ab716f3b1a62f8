"""Effective settings: values that are not set are filled in from the provider's preset, the port and the security."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.net.endpoint import Security
from mailslot.oauth.presets import preset
from mailslot.slots import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.net.endpoint import Endpoint
    from mailslot.oauth.providers import Protocol as Service
    from mailslot.oauth.providers import Provider
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol

# RFC 8314 sections 3.2 and 3.3 (465, 995, 993), RFC 6409 section 3.1 (587), RFC 5321 (25), RFC 1939 (110),
# RFC 9051 section 2.1 (143).
_PORTS: Final[Mapping[Service, Mapping[Security, int]]] = {
    "smtp": {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25},
    "pop": {Security.TLS: 995, Security.STARTTLS: 110, Security.NONE: 110},
    "imap": {Security.TLS: 993, Security.STARTTLS: 143, Security.NONE: 143},
}
_DEFAULT_SECURITY: Final[Mapping[Protocol, Security]] = {"SMTP": Security.STARTTLS, "POP": Security.TLS}
_SECURITY_OF_PORT: Final[Mapping[int, Security]] = {
    465: Security.TLS,
    995: Security.TLS,
    993: Security.TLS,
    110: Security.STARTTLS,
    143: Security.STARTTLS,
}
_SERVICE_OF_MAILDROP: Final[Mapping[str, Service]] = {"pop3": "pop", "imap": "imap"}
"""Which of a provider's services each maildrop uses; nothing is known about other maildrops."""


def effective_settings(settings: Settings, protocol: Protocol) -> Settings:
    """Return settings with values filled in for those that are not set; nothing is written.

    These are ``server``, ``port``, ``security`` and, for SMTP, ``sender_address``, which is taken from an account that
    is an address. ``server`` stays None if neither it nor a known provider is set.

    Args:
        settings: the settings in the file.
        protocol: what the record is for.
    """
    return replace(settings, **{key: value for key, (value, _) in _filled_in_values(settings, protocol).items()})


def value_sources(settings: Settings, protocol: Protocol) -> dict[str, str]:
    """Return the source of each value that `effective_settings` fills in, such as ``"Google"``."""
    return {key: origin for key, (_, origin) in _filled_in_values(settings, protocol).items()}


def preset_provider(settings: Settings) -> Provider | None:
    """Return the preset that the settings name; None if there is none, or the provider is custom or unknown."""
    if settings.provider in {None, "custom"}:
        return None
    try:
        return preset(settings.provider or "")
    except InputError:
        return None


def mail_service(settings: Settings, protocol: Protocol) -> Service | None:
    """Return which of a provider's services a record uses; None if that is not known for its maildrop."""
    return "smtp" if protocol == "SMTP" else _SERVICE_OF_MAILDROP.get(settings.maildrop)


def implied_port(settings: Settings, protocol: Protocol, security: Security) -> int | None:
    """Return the usual port for a security; None if the maildrop's ports are not known."""
    service = mail_service(settings, protocol)
    return None if service is None else _PORTS[service][security]


def _filled_in_values(settings: Settings, protocol: Protocol) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    provider = preset_provider(settings)
    server, port, security = settings.server, settings.port, settings.security
    offered = _offered_server(settings, provider, protocol)
    if provider is not None and offered is not None:
        if server is None:
            found["server"] = (offered.host, provider.name)
        if port in {None, offered.port} and security in {None, offered.security}:
            if port is None:
                found["port"] = (offered.port, provider.name)
            if security is None:
                found["security"] = (offered.security, provider.name)
            port, security = offered.port, offered.security
    if security is None:
        implied = None if port is None else _SECURITY_OF_PORT.get(port)
        security = implied or _DEFAULT_SECURITY[protocol]
        found["security"] = (security, "the port" if implied else "default")
    usual = implied_port(settings, protocol, security)
    if port is None and usual is not None:
        found["port"] = (usual, "default" if settings.security is None else "the encryption")
    return found | _sender(settings, protocol)


def _sender(settings: Settings, protocol: Protocol) -> dict[str, tuple[Any, str]]:
    if protocol == "SMTP" and settings.sender_address is None and settings.account is not None:
        with suppress(ValueError):
            return {"sender_address": (keys.address(settings.account), "the account")}
    return {}


def _offered_server(settings: Settings, provider: Provider | None, protocol: Protocol) -> Endpoint | None:
    """Return the provider's server that fits the settings best; None if they name another server."""
    name = mail_service(settings, protocol)
    service = None if provider is None or name is None else provider.service(name)
    own = settings.server and settings.server.casefold().removesuffix(".")
    servers = [] if service is None else [each for each in service.servers if own in {None, each.host}]

    def fits(endpoint: Endpoint) -> int:
        given = ((settings.port, endpoint.port), (settings.security, endpoint.security))
        return sum(own_value == offered_value for own_value, offered_value in given)

    return max(servers, key=fits, default=None)

"""The destinations of secrets: a password is for one mail server, a client secret for one token service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.slots.effective_settings import effective_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol

TOKEN_SERVICE_KEYS: Final = (
    *("provider", "issuer", "authorization_endpoint", "token_endpoint"),
    *("device_authorization_endpoint", "revocation_endpoint"),
)
"""The settings that determine the token service."""

_DESTINATION_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "password": ("server", "secondary_server", "port", "security"),
    "client_secret": (*TOKEN_SERVICE_KEYS, "tenant"),
}

DROPPED_NOTES: Final[Mapping[str, str]] = {
    "password": "The password was entered for another server, so it is removed: enter it again for this one.",
    "client_secret": "The client secret was entered for another token service, so it is removed: enter it again for "
    "this one.",
}
"""The sentence about each secret that a change removes."""


def misdirected_secrets(before: Settings, after: Settings, protocol: Protocol) -> tuple[str, ...]:
    """Return the names of the secrets whose destination a change of settings would change.

    The effective settings are compared, since another provider can mean another server.
    """
    old, new = _effective(before, protocol), _effective(after, protocol)
    return tuple(
        name for name, keys in _DESTINATION_KEYS.items() if any(getattr(old, key) != getattr(new, key) for key in keys)
    )


def _effective(settings: Settings, protocol: Protocol) -> Settings:
    return effective_settings(replace(settings, provider=settings.provider or "custom"), protocol)

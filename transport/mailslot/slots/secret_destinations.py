"""The destinations of secrets: a password is meant for one mail server, a client secret for one token service."""

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
"""Settings that say which token service is asked."""

_DESTINATION_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "password": ("server", "secondary_server", "port", "security"),
    "client_secret": (*TOKEN_SERVICE_KEYS, "tenant"),
}

DROPPED_NOTES: Final[Mapping[str, str]] = {
    "password": "The password was entered for another server, so it is removed: enter it again for this one.",
    "client_secret": "The client secret was entered for another token service, so it is removed: enter it again for "
    "this one.",
}
"""What is said of a secret that a change drops."""


def misdirected_secrets(before: Settings, after: Settings, protocol: Protocol) -> tuple[str, ...]:
    """Return the names of the secrets that would go to another destination after a change of settings.

    Effective settings count, not those in the file: a server that comes with another provider is another server.
    """
    old, new = _effective(before, protocol), _effective(after, protocol)
    return tuple(
        name for name, keys in _DESTINATION_KEYS.items() if any(getattr(old, key) != getattr(new, key) for key in keys)
    )


def _effective(settings: Settings, protocol: Protocol) -> Settings:
    return effective_settings(replace(settings, provider=settings.provider or "custom"), protocol)

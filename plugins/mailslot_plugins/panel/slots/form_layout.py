"""Which fields of a slot's form are shown at once, and which are folded away; both follow from the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.slots.settings import keys_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.slot import Protocol

_OWN_PROVIDER: Final = ("issuer", "authorization_endpoint", "token_endpoint")
"""The settings that make a provider of one's own, even if ``provider`` is not set."""

_SERVER: Final = ("server", "port", "security")
_SIGN_IN: Final[Mapping[Protocol, tuple[str, ...]]] = {
    "SMTP": ("authentication", "pop_slot"),
    "POP": ("authentication",),
}
_PURPOSE: Final[Mapping[Protocol, tuple[str, ...]]] = {
    "SMTP": ("sender_name", "sender_address"),
    "POP": ("check_interval", "after_fetch", "first_poll"),
}
_APPLICATION: Final = (
    *("client_id", "tenant", "client_secret", "flow", "redirect_uri", "redirect_port", "scopes", "token_source"),
)
_ENDPOINTS: Final = (
    *("issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint"),
)


def is_custom(values: Mapping[str, str]) -> bool:
    """Return whether a form is for a provider of one's own.

    Args:
        values: the values of the form, by key.
    """
    return values["provider"] == "custom" or (not values["provider"] and any(values[key] for key in _OWN_PROVIDER))


def main_fields(values: Mapping[str, str], protocol: Protocol) -> tuple[str, ...]:
    """Return the fields that are shown at once, in their order.

    A preset supplies the server and the way to sign in. A provider of one's own needs the fields that nobody else can
    know, and a slot without a provider those of the server and of signing in.

    Args:
        values: the values of the form, by key.
        protocol: the slot's protocol.
    """
    account = ("account", "password")
    if is_custom(values):
        sign_in = () if values["provider"] else _SIGN_IN[protocol]
        return ("provider", "issuer", "client_id", "scopes", *sign_in, *account, *_SERVER, *_PURPOSE[protocol])
    if values["provider"]:
        return ("provider", *account, *_PURPOSE[protocol])
    return ("provider", *_SERVER, *_SIGN_IN[protocol], *account, *_PURPOSE[protocol])


def further_fields(values: Mapping[str, str], protocol: Protocol) -> dict[str, tuple[str, ...]]:
    """Return the other fields, by the name of their group.

    Args:
        values: the values of the form, by key.
        protocol: the slot's protocol.
    """
    main = main_fields(values, protocol)
    grouped = {*main, *_APPLICATION, *_ENDPOINTS, *_SERVER, *_SIGN_IN[protocol]}
    rest = (key for key in keys_for(protocol) if key not in grouped)
    groups: dict[str, tuple[str, ...]] = {
        "application": _APPLICATION,
        "own_provider": _ENDPOINTS,
        "connection": (*_SERVER, *_SIGN_IN[protocol], *rest),
    }
    return {name: tuple(key for key in keys if key not in main) for name, keys in groups.items()}

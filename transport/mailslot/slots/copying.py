"""Copies of one record's provider and account for other records, so that they are entered once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.slots.keys import json_value
from mailslot.slots.settings import keys_for, protocol_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.settings import Settings

_PROVIDER: Final = (
    *("authentication", "provider", "account", "client_id", "tenant", "flow", "redirect_uri", "redirect_port"),
    *("issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint"),
)
"""The provider, the application there, and the account."""

_LOCAL: Final = ("ca_file", "token_source")
"""Settings of the same kind that only somebody with a login on the device may change."""

_SERVICE: Final = ("server", "port", "security", "scopes")
"""The mail server of one protocol, and the permission for it."""


def records_to_set_up(settings: Mapping[str, Settings], record: str) -> list[str]:
    """Return the records other than `record` at which neither a server nor a provider nor an account is set."""
    return [
        name
        for name, each in settings.items()
        if name != record and not (each.server or each.provider or each.issuer or each.account)
    ]


def copied_values(
    source: Settings, record: str, target: Settings, target_record: str, *, local: bool = False
) -> dict[str, object | None]:
    """Return the values that a record gets from another one; None unsets one.

    The server and the scopes of SMTP are of no use for POP, and the reverse. A preset supplies those of each protocol.

    Args:
        source: the settings that are copied.
        record: the name of their record.
        target: the settings of the other record.
        target_record: its name.
        local: whether somebody with a login on the device copies them.
    """
    names: tuple[str, ...] = (*_PROVIDER, *(_LOCAL if local else ()))
    protocol = protocol_of(target_record, target)
    if protocol_of(record, source) == protocol:
        names = (*names, *_SERVICE)
    values = {name: json_value(getattr(source, name)) or None for name in names if name in keys_for(protocol)}
    if source.provider not in {None, "custom", target.provider}:
        # Values of the target's former provider would override those of the preset.
        values = {**dict.fromkeys(_SERVICE), **values}
    return values

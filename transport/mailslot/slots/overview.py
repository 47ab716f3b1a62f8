"""Overview of settings for display: the effective values and their sources; for a secret, only whether it is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mailslot.errors import InputError, MailError
from mailslot.slots.effective_settings import effective_settings, mail_service, value_sources
from mailslot.slots.flows import APP_FLOWS, provider_of
from mailslot.slots.keys import json_value
from mailslot.slots.settings import SECRETS, keys_for, protocol_of

if TYPE_CHECKING:
    from mailslot.slots.records import Records
    from mailslot.slots.section import Section
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol


def record_overview(records: Records, record: str) -> dict[str, Any]:
    """Return a record's settings as JSON values.

    Returns:
        ``settings``: the effective values, by key; ``from``: the source of each value that is not in the file, by key,
        such as ``"Google"``; ``secrets``: whether each secret is set, None if that cannot be read.

    Raises:
        InputError: the file cannot be used.
    """
    settings = records.settings.load()[record]
    values, where = settings_overview(settings, protocol_of(record, settings))
    return {"settings": values, "from": where, "secrets": secrets_overview(records, record)}


def settings_overview(settings: Settings, protocol: Protocol) -> tuple[dict[str, Any], dict[str, str]]:
    """Return ``settings`` and ``from`` of `record_overview` for settings that need not be in the file."""
    settings_in_use, where = effective_settings(settings, protocol), value_sources(settings, protocol)
    values = {key: json_value(getattr(settings_in_use, key)) for key in keys_for(protocol)}
    scopes = _preset_scopes(settings, protocol)
    if scopes:
        values["scopes"], where["scopes"] = scopes
    return values, where


def secrets_overview(records: Records, record: str) -> dict[str, bool | None]:
    """Return, for each secret of a record, whether it is set; None if that cannot be read."""
    try:
        kept = records.vault.fields(record)
    except MailError:
        kept = None
    return {name: None if kept is None else name in kept for name in SECRETS}


def section_overview(records: Records, section: Section) -> dict[str, Any]:
    """Return a section's settings as JSON values: ``settings`` and ``from``, as for `record_overview`.

    Raises:
        InputError: the file cannot be used.
    """
    values = records.settings.section(section)
    given = records.settings.current().sections.get(section.name, {})
    where = {key: "default" for key, value in values.items() if key not in given and value not in {None, ()}}
    return {"settings": {key: json_value(value) for key, value in values.items()}, "from": where}


def as_text(value: object) -> str:
    """Return a value from `mailslot.slots.keys.json_value` as text for people."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(str, cast("list[object]", value)))
    return "" if value is None else str(value)


def _preset_scopes(settings: Settings, protocol: Protocol) -> tuple[list[str], str] | None:
    """Return the scopes that are requested if none are set, and the name of their source."""
    if settings.scopes or settings.authentication != "oauth2":
        return None
    try:
        provider = provider_of(settings)
        flow = settings.flow or provider.flows[0]
        service = mail_service(settings, protocol)
        scopes = provider.scopes(service, app=flow in APP_FLOWS) if service else ()
    except InputError:
        return None
    return (list(scopes), provider.name) if scopes else None

"""A record as it is kept, in the form in which a page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import MailError
from mailslot.slots.grant_store import GRANT_FIELD
from mailslot.slots.keys import json_value
from mailslot.slots.overview import as_text, secrets_overview
from mailslot.slots.settings import keys_for
from mailslot.slots.slot import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """A record.

    Attributes:
        settings: as they stand in the file.
        texts: the same as a form's fields hold them, by key.
        secrets: whether each is set; None where that cannot be read.
        has_token: whether there is a token.
    """

    settings: Settings
    texts: Mapping[str, str]
    secrets: Mapping[str, bool | None]
    has_token: bool


def stored(records: Records, record: str) -> Stored:
    """Return a record as it is now, also where its settings cannot stand together. Blocks.

    Raises:
        SettingsFileError: the file cannot be used.
    """
    settings = records.settings.load_for_change()[record]
    try:
        has_token = GRANT_FIELD in records.vault.fields(record)
    except MailError:
        has_token = False
    return Stored(settings, texts_of(settings, PROTOCOLS[record]), secrets_overview(records, record), has_token)


def texts_of(settings: Settings, protocol: Protocol) -> dict[str, str]:
    """Return settings as a form's fields hold them, by key.

    Args:
        settings: the settings.
        protocol: what the slot is for.
    """
    return {key: as_text(json_value(getattr(settings, key))) for key in keys_for(protocol)}

"""The stored settings of a record, as a form shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import MailError
from mailslot.slots.grant_store import GRANT_FIELD
from mailslot.slots.keys import json_value
from mailslot.slots.overview import as_text, secrets_overview
from mailslot.slots.settings import keys_for, protocol_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A stored record.

    Attributes:
        settings: the settings in the file.
        texts: the same as texts for a form's fields, by key.
        secrets: whether each secret is set; None if that cannot be read.
        has_token: whether there is a token.
    """

    settings: Settings
    texts: Mapping[str, str]
    secrets: Mapping[str, bool | None]
    has_token: bool

    @property
    def is_set(self) -> bool:
        """Whether anything was set up that a change could spoil."""
        return any(self.texts[key] for key in ("server", "provider", "issuer", "token_endpoint", "account"))


def load_record(records: Records, record: str) -> StoredRecord:
    """Return the stored record, even if its settings contradict each other. Blocks.

    Raises:
        SettingsFileError: the file cannot be used.
    """
    settings = records.settings.load_for_change()[record]
    try:
        has_token = GRANT_FIELD in records.vault.fields(record)
    except MailError:
        has_token = False
    return StoredRecord(
        settings, form_texts(settings, protocol_of(record, settings)), secrets_overview(records, record), has_token
    )


def form_texts(settings: Settings, protocol: Protocol) -> dict[str, str]:
    """Return settings as texts for a form's fields, by key."""
    return {key: as_text(json_value(getattr(settings, key))) for key in keys_for(protocol)}

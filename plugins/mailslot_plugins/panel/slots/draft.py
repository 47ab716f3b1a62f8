"""A change that somebody has entered and not yet confirmed: what it would change, and where else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.slots.overview import settings_overview
from mailslot.slots.secret_destinations import TOKEN_SERVICE_KEYS
from mailslot.slots.slot import PROTOCOLS
from mailslot_plugins.panel.slots.labels import FOLDER, label, shown, with_origin
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol
    from mailslot_plugins.panel.slots.entry import Entry
    from mailslot_plugins.panel.slots.stored import Stored

_IDENTITY: Final = frozenset({"account", "client_id", "tenant", "authentication", *TOKEN_SERVICE_KEYS})
"""Settings with which a token that is there may no longer fit."""


@dataclass(frozen=True, slots=True)
class Row:
    """What changes.

    Attributes:
        label: of which setting or secret.
        before: what it was.
        after: what it will be.
    """

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A change that waits in the session of whoever entered it.

    Attributes:
        entry: what was entered.
        elsewhere: what others have changed since the page was loaded, by key; it stays as they have set it.
        before: what the record held when the change was shown, by key.
    """

    entry: Entry
    elsewhere: tuple[str, ...]
    before: Mapping[str, str]


def asks(entry: Entry, now: Stored, *, shared: bool, elsewhere: bool, drops: bool) -> bool:
    """Tell whether a change is shown once more before it is made.

    Args:
        entry: what was entered.
        now: what is kept.
        shared: whether other slots have the same settings.
        elsewhere: whether others have changed the record meanwhile.
        drops: whether a secret is removed that would go somewhere else.
    """
    return shared or elsewhere or drops or touches_token(entry, now)


def touches_token(entry: Entry, now: Stored) -> bool:
    """Tell whether a token that is there may no longer fit after a change.

    Args:
        entry: what was entered.
        now: what is kept.
    """
    return now.has_token and bool(_IDENTITY & entry.changes.keys() or "client_secret" in entry.secrets)


def rows(
    records: Records, record: str, entry: Entry, now: Stored, dropped: tuple[str, ...], language: str
) -> list[Row]:
    """Return what a change comes to, by what was meant. Blocks.

    Args:
        records: the home folder.
        record: which.
        entry: what was entered.
        now: what is kept.
        dropped: the secrets that it removes by itself.
        language: one of the panel's.

    Raises:
        InputError: it is not allowed.
    """
    protocol = PROTOCOLS[record]
    after = records.settings.check(record, records.plan_change(record, entry.changes, entry.secrets).values)
    found = difference(now.settings, after, protocol, language)
    for name, secret in {**dict.fromkeys(dropped), **entry.secrets}.items():
        kept = {True: "secret_set", False: "secret_unset", None: "secret_unreadable"}[now.secrets[name]]
        words = (
            translate(FOLDER, kept, language),
            translate(FOLDER, "secret_removed" if secret is None else "secret_new", language),
        )
        found.append(Row(label(name, protocol, language), *words))
    return found


def difference(before: Settings, after: Settings, protocol: Protocol, language: str) -> list[Row]:
    """Return in what settings differ, for people.

    Args:
        before: the former ones.
        after: the new ones.
        protocol: what the slot is for.
        language: one of the panel's.
    """
    former, new = _texts(before, protocol, language), _texts(after, protocol, language)
    return [
        Row(label(key, protocol, language), former[key], new[key])
        for key in former
        if getattr(before, key) != getattr(after, key)
    ]


def _texts(settings: Settings, protocol: Protocol, language: str) -> dict[str, str]:
    holds, origins = settings_overview(settings, protocol)
    found = dict[str, str]()
    for key, value in holds.items():
        text = shown(key, value, language)
        if text and key in origins:
            text = with_origin(text, origins[key], language)
        found[key] = text or translate(FOLDER, "not_set", language)
    return found

"""The records of one device: their settings and secrets, changed together."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from mailslot.slots.checks import check_authorities, check_secret
from mailslot.slots.destinations import DROPPED, misdirected_secrets
from mailslot.slots.flows import TOKEN_SOURCES
from mailslot.slots.maildrop import check_maildrop, check_options
from mailslot.slots.normalization import (
    MICROSOFT_NOTE,
    STARTTLS_ON_587,
    NormalizedChange,
    normalize_change,
    without_port_465,
)
from mailslot.slots.permission import check_permission
from mailslot.slots.presets import effective
from mailslot.slots.settings import keys_for
from mailslot.slots.slot import PROTOCOLS, slots_of
from mailslot.slots.submitter import find_submitter
from mailslot.slots.tokens import RecordTokens
from mailslot.slots.toml_file import SettingsFile
from mailslot.vault.keys import KeyRing
from mailslot.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mailslot.slots.keys import SetBy
    from mailslot.slots.settings import Settings
    from mailslot.wire.secret import Secret


class Changed(NamedTuple):
    """What a change came to.

    Attributes:
        settings: the record's settings from now on.
        notes: what was understood otherwise than it was entered, and what was dropped, a sentence each.
        dropped: the secrets that were removed, since they would have gone somewhere else.
    """

    settings: Settings
    notes: tuple[str, ...]
    dropped: tuple[str, ...] = ()


class Records:
    """The home folder of a device. Everything here blocks for a moment: call it in a thread.

    Attributes:
        home: the folder.
        settings: ``mailslot.toml``.
        vault: the secrets.
        tokens: the tokens behind the records.
    """

    def __init__(self, home: Path, credentials: Path | None = None) -> None:
        """Open a home folder; nothing is made before something is kept.

        Args:
            home: the folder.
            credentials: the service manager's folder of credentials; None without one.
        """
        self.home = home
        self.settings = SettingsFile(home)
        self._keys = KeyRing(home, credentials)
        self.vault = Vault(home / "vault", self._keys)
        self.tokens = RecordTokens(home, self.vault)

    def check_key(self) -> None:
        """Raise where the key to the secrets cannot be used; the settings can be all the same.

        Raises:
            MailError: cause `token_store_unreadable`.
        """
        self._keys.check()

    def effective(self, record: str) -> Settings:
        """Return a record's settings with what holds where nothing is set (`mailslot.slots.presets.effective`).

        Raises:
            InputError: the file cannot be used.
        """
        return effective(self.settings.load()[record], PROTOCOLS[record])

    def change(
        self,
        record: str,
        values: Mapping[str, object | None],
        secrets: Mapping[str, Secret | None],
        *,
        first: Callable[[], None] | None = None,
        by: SetBy = "local",
    ) -> Changed:
        """Change settings and secrets of a record; nothing changes where anything is not allowed.

        A secret that would go somewhere else afterwards is dropped, unless it is entered anew, or somebody with a login
        on the device makes the change, who could read it.

        Args:
            record: which one.
            values: as they were entered, by key; None unsets.
            secrets: by name; None removes.
            first: done once nobody else can change settings, before anything is written; where it raises, nothing
                changes.
            by: who wants it.

        Raises:
            NotPermittedError: he may not set one of these.
            InputError: a key, a value or the combination is not allowed.
            MailError: the vault cannot be read or written.
        """
        understood = self.intend(record, values, secrets, by=by)
        dropped: tuple[str, ...] = ()

        def beside() -> AbstractContextManager[dict[Path, bytes | None]]:
            nonlocal dropped
            if by != "local":
                dropped = self._dropped(record, understood.values, secrets)
            if secrets or dropped:
                return self.vault.changed(record, {**dict.fromkeys(dropped), **secrets})
            return nullcontext({})

        # Together, so that at no moment a secret stands beside another server than its own.
        settings = self.settings.change(record, understood.values, first=first, beside=beside)
        return Changed(settings, (*understood.notes, *(DROPPED[name] for name in dropped)), dropped)

    def drops(
        self, record: str, values: Mapping[str, object | None], secrets: Mapping[str, Secret | None]
    ) -> tuple[str, ...]:
        """Return the names of the secrets that `change` would drop, and change nothing.

        Raises:
            InputError: as for `change`.
            MailError: the vault cannot be read.
        """
        return self._dropped(record, self.intend(record, values, secrets).values, secrets)

    def _dropped(
        self, record: str, values: Mapping[str, object | None], secrets: Mapping[str, Secret | None]
    ) -> tuple[str, ...]:
        before, after = self.settings.to_change()[record], self.settings.check(record, values)
        found = [name for name in misdirected_secrets(before, after, PROTOCOLS[record]) if name not in secrets]
        kept = self.vault.fields(record) if found else frozenset[str]()
        return tuple(name for name in found if name in kept)

    def intend(
        self,
        record: str,
        values: Mapping[str, object | None],
        secrets: Mapping[str, Secret | None],
        *,
        by: SetBy = "local",
    ) -> NormalizedChange:
        """Return what `change` would set, and change nothing.

        Raises:
            NotPermittedError: as for `change`.
            InputError: likewise.
        """
        for name, secret in secrets.items():
            check_secret(name, secret)
        protocol = PROTOCOLS[record]
        before = self.settings.to_change()[record]
        understood = normalize_change(values, before, protocol)
        values, notes = understood.values, understood.notes
        after = self.settings.check(record, values)
        check_permission(keys_for(protocol), values, asdict(before), by, slots_of(record)[0].id)
        if without_port_465(after, protocol):
            values, notes = {**values, **STARTTLS_ON_587}, (*notes, MICROSOFT_NOTE)
        if values.get("ca_file"):
            check_authorities(after.ca_file)
        if {"maildrop", "maildrop_options"} & values.keys():
            check_maildrop(after)
            check_options(after, before, by)
        if source := values.get("token_source"):
            TOKEN_SOURCES.find(str(source).partition(" ")[0])
        if values.get("submitter"):
            find_submitter(after.submitter)
        return NormalizedChange(values, notes)

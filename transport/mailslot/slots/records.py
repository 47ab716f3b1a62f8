"""The records of a home: their settings and secrets, which are changed together."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mailslot.home.folder import FolderHome
from mailslot.slots.checks import check_ca_file, check_secret
from mailslot.slots.copying import copied_values
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.flows import TOKEN_SOURCES
from mailslot.slots.maildrop import check_maildrop, check_option_permission
from mailslot.slots.normalization import (
    MICROSOFT_NOTE,
    MICROSOFT_SETTINGS,
    NormalizedChange,
    needs_starttls,
    normalize_change,
)
from mailslot.slots.permission import check_permission
from mailslot.slots.secret_destinations import DROPPED_NOTES, misdirected_secrets
from mailslot.slots.settings import keys_for, protocol_of
from mailslot.slots.settings_file import SettingsFile
from mailslot.slots.submitter import find_submitter
from mailslot.slots.tokens import RecordTokens
from mailslot.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from mailslot.home.home import Home
    from mailslot.slots.keys import SetterRole
    from mailslot.slots.settings import Settings
    from mailslot.wire.secret import Secret


class ChangeResult(NamedTuple):
    """The result of a change.

    Attributes:
        settings: the record's settings from now on.
        notes: a sentence for each value that was changed by normalization, and for each secret that was removed.
        dropped: the names of the secrets that were removed because their destination changed.
    """

    settings: Settings
    notes: tuple[str, ...]
    dropped: tuple[str, ...] = ()


class Records:
    """The records of a home. All methods block for a moment: call them in a thread.

    Attributes:
        place: where everything is.
        settings: ``mailslot.toml``.
        vault: the secrets.
        tokens: the tokens behind the records.
    """

    def __init__(self, home: Path | Home, credentials: Path | None = None) -> None:
        """Open a home; nothing is created before something is stored.

        Args:
            home: the home, or its folder.
            credentials: for a folder, the service manager's folder of credentials; None without one.
        """
        self.place: Final = FolderHome(home, credentials) if isinstance(home, Path) else home
        self.settings = SettingsFile(self.place)
        self.vault = Vault(self.place.documents, self.place.keys, self.place.shared_secrets)
        self.tokens = RecordTokens(self.place, self.vault)

    @property
    def home(self) -> Path:
        """The folder for what belongs to this machine; for a home folder, that folder."""
        return self.place.folder

    def check_key(self) -> None:
        """Check that the encryption key of the secrets can be used. The settings can be used even if it cannot.

        Raises:
            MailError: cause `token_store_unreadable`.
        """
        self.place.keys.check()

    def rotate_key(self) -> int:
        """Encrypt all secrets with a new key and delete the old one.

        If the service manager provides the keys, its newest one is used. If a secret cannot be read, it is left
        unchanged and no key is deleted. After a crash, some secrets are encrypted with the old key and some with the
        new one, and both keys still exist.

        Returns:
            the number of secrets that were re-encrypted.

        Raises:
            MailError: a secret or a key cannot be read or written.
        """
        if not self.place.keys.is_provided:
            self.place.keys.add_new_key()
        return self.vault.rotate()

    def effective(self, record: str) -> Settings:
        """Return a record's effective settings (`mailslot.slots.effective_settings`).

        Raises:
            InputError: the file cannot be used.
        """
        settings = self.settings.load()[record]
        return effective_settings(settings, protocol_of(record, settings))

    def change(
        self,
        record: str,
        values: Mapping[str, object | None],
        secrets: Mapping[str, Secret | None],
        *,
        before_write: Callable[[], None] | None = None,
        role: SetterRole = "local",
    ) -> ChangeResult:
        """Change settings and secrets of a record; if any of them is not allowed, nothing changes.

        A secret whose destination changes is removed, so that it is not sent to another server. It is kept if it is
        entered again, or if the role is ``"local"``, since somebody with a login on the device could read it anyway.

        Args:
            record: the record.
            values: the values as they were entered, by key; None unsets one.
            secrets: the secrets, by name; None removes one.
            before_write: called under the lock, before anything is written; if it raises, nothing changes.
            role: the role of the person who makes the change.

        Raises:
            NotPermittedError: the role is not sufficient for one of them.
            InputError: a key, a value or the combination is not allowed.
            MailError: the vault cannot be read or written.
        """
        planned = self.plan_change(record, values, secrets, role=role)
        dropped: tuple[str, ...] = ()

        def check_again() -> None:
            # Somebody who may set more may have changed them since.
            if role != "local":
                self.plan_change(record, values, secrets, role=role)
            if before_write is not None:
                before_write()

        def changed_files() -> AbstractContextManager[dict[str, bytes | None]]:
            nonlocal dropped
            if role != "local":
                dropped = self._dropped_secrets(record, planned.values, secrets)
            if secrets or dropped:
                return self.vault.prepare_change(record, {**dict.fromkeys(dropped), **secrets})
            return nullcontext({})

        # They are changed together, so that a secret is never stored next to the wrong server.
        settings = self.settings.change(record, planned.values, before_write=check_again, other_documents=changed_files)
        return ChangeResult(settings, (*planned.notes, *(DROPPED_NOTES[name] for name in dropped)), dropped)

    def copy_provider(self, record: str, target: str, *, role: SetterRole = "local") -> ChangeResult:
        """Give a record the provider, the application and the account of another one; its token stays its own.

        Args:
            record: the record that has them.
            target: the record that gets them.
            role: the role of the person who makes the change.

        Raises:
            InputError: the combination with the record's other settings is not allowed.
            MailError: the vault cannot be read or written.
        """
        settings = self.settings.load_for_change()
        values = copied_values(settings[record], record, settings[target], target, local=role == "local")
        names = ("client_secret", "password") if role == "local" else ("client_secret",)
        found = {name: self.vault.read(record, name) for name in names}
        secrets = {name: secret for name, secret in found.items() if secret is not None}
        return self.change(target, values, secrets, role=role)

    def dropped_secrets(
        self, record: str, values: Mapping[str, object | None], secrets: Mapping[str, Secret | None]
    ) -> tuple[str, ...]:
        """Return the names of the secrets that `change` would remove, without changing anything.

        Raises:
            InputError: as for `change`.
            MailError: the vault cannot be read.
        """
        return self._dropped_secrets(record, self.plan_change(record, values, secrets).values, secrets)

    def _dropped_secrets(
        self, record: str, values: Mapping[str, object | None], secrets: Mapping[str, Secret | None]
    ) -> tuple[str, ...]:
        before, after = self.settings.load_for_change()[record], self.settings.check(record, values)
        protocol = protocol_of(record, before)
        names = [name for name in misdirected_secrets(before, after, protocol) if name not in secrets]
        kept = self.vault.fields(record) if names else frozenset[str]()
        return tuple(name for name in names if name in kept)

    def plan_change(
        self,
        record: str,
        values: Mapping[str, object | None],
        secrets: Mapping[str, Secret | None],
        *,
        role: SetterRole = "local",
    ) -> NormalizedChange:
        """Return the values that `change` would set, without changing anything.

        Raises:
            NotPermittedError: as for `change`.
            InputError: as for `change`.
        """
        for name, secret in secrets.items():
            check_secret(name, secret)
        before = self.settings.load_for_change()[record]
        protocol = protocol_of(record, before)
        planned = normalize_change(values, before, protocol)
        values, notes = planned.values, planned.notes
        after = self.settings.check(record, values)
        check_permission(keys_for(protocol), values, asdict(before), role, self.settings.slots().of(record)[0].id)
        if needs_starttls(after, protocol):
            values, notes = {**values, **MICROSOFT_SETTINGS}, (*notes, MICROSOFT_NOTE)
        if values.get("ca_file"):
            check_ca_file(after.ca_file)
        if {"maildrop", "maildrop_options"} & values.keys():
            check_maildrop(after)
            check_option_permission(after, before, role)
        if source := values.get("token_source"):
            TOKEN_SOURCES.find(str(source).partition(" ")[0])
        if values.get("submitter"):
            find_submitter(after.submitter)
        return NormalizedChange(values, notes)

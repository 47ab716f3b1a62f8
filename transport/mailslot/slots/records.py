"""The records of one device: their settings, their secrets, and the tokens behind them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.oauth.certificate import certificate_ends
from mailslot.oauth.health import Facts, health, token_line
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.providers import custom
from mailslot.oauth.renewal import GrantSource, settings_digest
from mailslot.oauth.revocation import Revocation
from mailslot.slots.checks import check_authorities, check_secret
from mailslot.slots.clients import client_for
from mailslot.slots.corrections import MICROSOFT_NOTE, STARTTLS_ON_587, Meant, meant, without_port_465
from mailslot.slots.destinations import DROPPED, misdirected
from mailslot.slots.flows import APP_FLOWS, TOKEN_SOURCES, find_flow
from mailslot.slots.maildrop import check_maildrop, check_options
from mailslot.slots.permission import check_permission
from mailslot.slots.presets import effective
from mailslot.slots.record import RecordStore
from mailslot.slots.settings import keys_for
from mailslot.slots.slot import PROTOCOLS, doors
from mailslot.slots.submitter import find_submitter
from mailslot.slots.toml_file import SettingsFile
from mailslot.vault.keys import KeyRing
from mailslot.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mailslot.oauth.client import Client
    from mailslot.oauth.flow import Flow
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.health import Health
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

    def check_key(self) -> None:
        """Raise where the key to the secrets cannot be used; the settings can be all the same.

        Raises:
            MailError: cause `token_store_unreadable`.
        """
        self._keys.check()

    def store(self, record: str) -> RecordStore:
        """Return where a record's grant is kept."""
        return RecordStore(self.vault, record, self.home / "locks" / f"{record}.lock")

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
        found = [name for name in misdirected(before, after, PROTOCOLS[record]) if name not in secrets]
        kept = self.vault.fields(record) if found else frozenset[str]()
        return tuple(name for name in found if name in kept)

    def intend(
        self,
        record: str,
        values: Mapping[str, object | None],
        secrets: Mapping[str, Secret | None],
        *,
        by: SetBy = "local",
    ) -> Meant:
        """Return what `change` would set, and change nothing.

        Raises:
            NotPermittedError: as for `change`.
            InputError: likewise.
        """
        for name, secret in secrets.items():
            check_secret(name, secret)
        protocol = PROTOCOLS[record]
        before = self.settings.to_change()[record]
        understood = meant(values, before, protocol)
        values, notes = understood.values, understood.notes
        after = self.settings.check(record, values)
        check_permission(keys_for(protocol), values, asdict(before), by, doors(record)[0].id)
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
        return Meant(values, notes)

    def source(self, record: str, settings: Settings, flow: Flow, http: TokenHttp) -> GrantSource:
        """Return the token source of a record.

        Raises:
            InputError: as for `mailslot.slots.clients.client_for`.
        """
        store, client = self.store(record), client_for(self.vault, record, settings, flow)
        return GrantSource(record, store, flow, client, http, locate=store.locate)

    def _client_of(self, record: str, settings: Settings, grant: Grant | None) -> Client:
        return client_for(self.vault, record, settings, find_flow(grant.flow) if grant else None)

    async def token_state(self, record: str, settings: Settings, now: float) -> tuple[str, Health | None]:
        """Return a record's token line, and how its token is doing.

        Args:
            record: which one.
            settings: its settings.
            now: the time, in seconds since the epoch.

        Returns:
            ``Not Retrieved`` or ``Retrieved``; and None where the record neither has a token nor wants one, or takes
            its tokens from somewhere else.
        """
        fault: MailError | None = None
        grant: Grant | None = None
        store = self.store(record)
        here = await run_sync(store.locate)
        try:
            grant = await store.load()
        except MailError as error:
            fault = error
        keeps_one = settings.authentication == "oauth2" and settings.token_source is None
        if grant is None and fault is None and not keeps_one:
            return token_line(None), None
        try:
            client = await run_sync(self._client_of, record, settings, grant)
            provider, flow = client.provider, grant.flow if grant else ""
            facts = Facts(
                account=settings.account,
                scopes=client.scopes,
                settings=settings_digest(client, flow),
                renews_alone=flow in APP_FLOWS,
                secret_expires_at=certificate_ends(client.certificate) if client.certificate else None,
                here=here,
            )
        except MailError:
            # Settings that are not complete say nothing about a token that is there.
            provider = custom(token_endpoint="https://unknown.invalid")  # noqa: S106
            facts = Facts(account=settings.account, here=here)
        return token_line(grant), health(grant, facts, provider, now, fault=fault)

    async def delete_token(self, record: str, settings: Settings) -> Revocation:
        """Delete a record's token here in any case, and at the provider where it can be told.

        Returns:
            whether it was told, and what there is to say about it.

        Raises:
            MailError: it could not be deleted here.
        """
        store = self.store(record)
        try:
            grant = await store.load()
            if grant is None:
                return Revocation(told=False, sentence="There was none.")
            flow = await run_sync(find_flow, grant.flow)
            async with TokenHttp(ca_file=settings.ca_file) as http:
                source = await run_sync(self.source, record, settings, flow, http)
                return await source.delete()
        except MailError as error:
            await store.delete()
            return Revocation(told=False, sentence=f"The provider was not told: {error}")

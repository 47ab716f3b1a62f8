"""The records of one device: their settings, their secrets, and the tokens behind them."""

from __future__ import annotations

import re
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.oauth.certificate import certificate_ends
from mailslot.oauth.client import Certificate, Client
from mailslot.oauth.flow import Flow
from mailslot.oauth.health import Facts, health, token_line
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.providers import custom, preset, presets
from mailslot.oauth.renewal import GrantSource, settings_digest
from mailslot.slots.checks import check_authorities, check_secret
from mailslot.slots.corrections import MICROSOFT_NOTE, STARTTLS_ON_587, meant, without_port_465
from mailslot.slots.presets import effective
from mailslot.slots.record import RecordStore
from mailslot.slots.slot import PROTOCOLS
from mailslot.slots.toml_file import SettingsFile
from mailslot.vault.keys import KeyRing
from mailslot.vault.vault import Vault
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mailslot.oauth.grant import Grant
    from mailslot.oauth.health import Health
    from mailslot.oauth.providers import Provider
    from mailslot.sasl.credentials import TokenSource
    from mailslot.slots.settings import Settings

TOKEN_SOURCES: Final = "mailslot.token_sources"  # noqa: S105 - a group of entry points
"""The entry points under which flows and token sources are found."""

APP_FLOWS: Final = frozenset({"app", "service_account"})
"""The flows in which the application signs in by itself."""

_PEM: Final = re.compile(r"(-----BEGIN ([A-Z ]+)-----.*?-----END \2-----)", re.DOTALL)


class ApplicationMissingError(InputError):
    """No application is set; `provider` tells how to register one."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(
            f"No application is set: register one with {provider.name}, and set its client_id.",
            stage="token",
            cause="not_configured",
        )
        self.provider = provider


class Changed(NamedTuple):
    """What a change came to.

    Attributes:
        settings: the record's settings from now on.
        notes: what was understood otherwise than it was entered, a sentence each.
    """

    settings: Settings
    notes: tuple[str, ...]


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

    def change(self, record: str, values: Mapping[str, object | None], secrets: Mapping[str, Secret | None]) -> Changed:
        """Change settings and secrets of a record; nothing changes where anything is not allowed.

        Raises:
            InputError: a key, a value or the combination is not allowed.
            MailError: the vault cannot be written.
        """
        for name, secret in secrets.items():
            check_secret(name, secret)
        protocol = PROTOCOLS[record]
        understood = meant(values, self.settings.to_change()[record], protocol)
        values, notes = understood.values, understood.notes
        if without_port_465(self.settings.check(record, values), protocol):
            values, notes = {**values, **STARTTLS_ON_587}, (*notes, MICROSOFT_NOTE)
        if values.get("ca_file"):
            check_authorities(self.settings.check(record, values).ca_file)
        first = partial(self.vault.write, record, secrets) if secrets else None
        return Changed(self.settings.change(record, values, first=first), notes)

    def source(self, record: str, settings: Settings, flow: Flow, http: TokenHttp) -> GrantSource:
        """Return the token source of a record.

        Raises:
            InputError: as for `client`.
        """
        return GrantSource(record, self.store(record), flow, self.client(record, settings, flow), http)

    def client(self, record: str, settings: Settings, flow: Flow | None) -> Client:
        """Return who asks for tokens for a record, before discovery.

        Raises:
            InputError: the provider, the application's id or the account is missing, or they do not fit.
        """
        provider = provider_of(settings).at_tenant(settings.tenant)
        if flow is not None:
            provider.check_flow(flow.name)
        if settings.account is None:
            raise InputError(
                "The account is not set, so it is not known whose token to get.", stage="token", cause="not_configured"
            )
        if settings.client_id is None and (flow is None or flow.name != "service_account"):
            raise ApplicationMissingError(provider)
        protocol: Literal["smtp", "pop"] = "smtp" if PROTOCOLS[record] == "SMTP" else "pop"
        app = flow is not None and flow.name in APP_FLOWS
        secret, certificate = _proof(self.vault.read(record, "client_secret"))
        return Client(
            provider=provider,
            client_id=settings.client_id or "",
            account=settings.account,
            scopes=settings.scopes or provider.scopes(protocol, app=app),
            client_secret=secret,
            certificate=certificate,
            tenant=settings.tenant,
        )

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
        try:
            grant = await self.store(record).load()
        except MailError as error:
            fault = error
        keeps_one = settings.authentication == "oauth2" and settings.token_source is None
        if grant is None and fault is None and not keeps_one:
            return token_line(None), None
        try:
            client = await run_sync(self.client, record, settings, find_flow(grant.flow) if grant else None)
            provider, flow = client.provider, grant.flow if grant else ""
            facts = Facts(
                account=settings.account,
                scopes=client.scopes,
                settings=settings_digest(client, flow),
                renews_alone=flow in APP_FLOWS,
                secret_expires_at=certificate_ends(client.certificate) if client.certificate else None,
            )
        except MailError:
            # Settings that are not complete say nothing about a token that is there.
            provider, facts = custom(token_endpoint="https://unknown.invalid"), Facts(account=settings.account)  # noqa: S106
        return token_line(grant), health(grant, facts, provider, now, fault=fault)

    async def delete_token(self, record: str, settings: Settings) -> str:
        """Delete a record's token here in any case, and at the provider where it can be told.

        Returns:
            what there is to say about the provider.

        Raises:
            MailError: it could not be deleted here.
        """
        store = self.store(record)
        try:
            grant = await store.load()
            if grant is None:
                return "There was none."
            flow = find_flow(grant.flow)
            async with TokenHttp(ca_file=settings.ca_file) as http:
                source = await run_sync(self.source, record, settings, flow, http)
                return (await source.delete()).sentence
        except MailError as error:
            await store.delete()
            return f"The provider was not told: {error}"


def _proof(stored: Secret | None) -> tuple[Secret | None, Certificate | None]:
    """Return how the application proves itself: by a secret, or by a key and its certificate, both in PEM."""
    text = "" if stored is None else stored.reveal()
    blocks = {name: block for block, name in _PEM.findall(text)}
    key = next((block for name, block in blocks.items() if name.endswith("PRIVATE KEY")), None)
    if key is None or "CERTIFICATE" not in blocks:
        return stored, None
    return None, Certificate(Secret(key), blocks["CERTIFICATE"])


def provider_of(settings: Settings) -> Provider:
    """Return the provider that the settings name.

    Raises:
        InputError: they name none, or one that is not known.
    """
    own = settings.issuer or settings.token_endpoint or settings.authorization_endpoint
    if settings.provider in {None, "custom"} and own:
        return custom(
            issuer=settings.issuer,
            authorization_endpoint=settings.authorization_endpoint,
            token_endpoint=settings.token_endpoint,
            device_authorization_endpoint=settings.device_authorization_endpoint,
            revocation_endpoint=settings.revocation_endpoint,
            scopes=" ".join(settings.scopes),
        )
    if settings.provider is None or settings.provider == "custom":
        raise InputError(
            f"No provider is set. Set provider to one of {', '.join(presets())}, or set issuer, or the endpoints of "
            "your own.",
            stage="token",
            cause="not_configured",
        )
    return preset(settings.provider)


def find_token_source(name: str) -> object:
    """Return what a plugin brings under this name: a flow, or a function that makes a token source.

    Raises:
        InputError: no plugin brings it, or its extra is not installed.
    """
    for entry in entry_points(group=TOKEN_SOURCES, name=name):
        try:
            return entry.load()
        except ModuleNotFoundError as error:
            raise InputError(
                f"The token source {name} needs {error.name}: pip install 'mailslot[oauth]'.", stage="token"
            ) from error
    known = sorted(entry.name for entry in entry_points(group=TOKEN_SOURCES))
    raise InputError(f"There is no token source {name!r}; there are {', '.join(known)}.", stage="token")


def find_flow(name: str) -> Flow:
    """Return the flow with this name.

    Raises:
        InputError: there is none.
    """
    found = find_token_source(name)
    if not isinstance(found, Flow):
        raise InputError(f"{name} is a source of tokens, and nobody signs in there.", stage="token")
    return found


def choose_flow(settings: Settings, asked: str | None) -> Flow:
    """Return the flow that was asked for, else the one that is set, else the provider's best.

    Where an application signs in by itself with Google, it does so as a service account.
    """
    provider = provider_of(settings)
    name = asked or settings.flow or provider.flows[0]
    if name == "app" and "app" not in provider.flows and "service_account" in provider.flows:
        name = "service_account"
    return find_flow(name)


def direct_source(settings: Settings) -> TokenSource | None:
    """Return the token source that stands in the settings itself, such as a program or a file; None without one.

    ``token_source`` is ``command PROGRAM ARGUMENT…`` or ``file PATH``, or a plugin's name and what it wants.

    Raises:
        InputError: there is no such source, or it cannot use what is said.
    """
    if settings.token_source is None:
        return None
    name, _, argument = settings.token_source.partition(" ")
    found = find_token_source(name)
    if isinstance(found, Flow):
        raise InputError(f"{name} is a way to sign in: set flow, not token_source.", stage="token")
    make = cast("Callable[[Mapping[str, object]], TokenSource]", found)
    key = {"file": "path"}.get(name, name)
    return make({key: argument.strip()})

"""The tokens of the records of a home folder: their sources, status and deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.oauth.health import TokenSettings, health, token_status_line
from mailslot.oauth.providers import custom_provider
from mailslot.oauth.revocation import Revocation
from mailslot.oauth.settings_digest import settings_digest
from mailslot.slots.flows import APP_FLOWS, find_flow
from mailslot.slots.grant_store import RecordGrantStore
from mailslot.slots.oauth_client import client_for_flow

if TYPE_CHECKING:
    from mailslot.home.home import Home
    from mailslot.oauth.client import ClientCertificate, OAuthClient
    from mailslot.oauth.flow import Flow, P
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.grant_source import GrantSource
    from mailslot.oauth.health import Health
    from mailslot.oauth.http import TokenHttp
    from mailslot.slots.settings import Settings
    from mailslot.vault.vault import Vault

OFFLINE_ACCESS: Final = "offline_access"
"""The scope for which most providers give a refresh token (OpenID Connect Core 1.0 section 11)."""


def lacks_offline_access(health: Health | None, settings: Settings) -> bool:
    """Whether a token cannot be renewed, and the scope that most providers want for that was not requested."""
    return (
        health is not None
        and "no_renewal" in health.topics
        and settings.provider in {None, "custom"}
        and OFFLINE_ACCESS not in settings.scopes
    )


class RecordTokens:
    """The tokens of the records of a home folder."""

    def __init__(self, home: Home, vault: Vault) -> None:
        self._home = home
        self._vault = vault

    def store(self, record: str) -> RecordGrantStore:
        """Return the grant store of a record."""
        return RecordGrantStore(self._vault, record, self._home)

    def source(self, record: str, settings: Settings, flow: Flow[P], http: TokenHttp) -> GrantSource[P]:
        """Return the token source of a record.

        Raises:
            InputError: as for `mailslot.slots.oauth_client.client_for_flow`.
        """
        from mailslot.oauth.grant_source import GrantSource  # noqa: PLC0415 - most commands use no token

        store, client = self.store(record), client_for_flow(self._vault, record, settings, flow.name)
        return GrantSource(record, store, flow, client, http, locate=store.locate, confirm_lock=store.confirm_lock)

    def _client_of(self, record: str, settings: Settings, grant: Grant | None) -> OAuthClient:
        flow = find_flow(grant.flow).name if grant else None
        return client_for_flow(self._vault, record, settings, flow, signs_in=False)

    async def status(self, record: str, settings: Settings, now: float) -> tuple[str, Health | None]:
        """Return the status text of a record's token, and its health.

        Args:
            record: the record.
            settings: its settings.
            now: the time, in seconds since the epoch.

        Returns:
            ``Not Retrieved`` or ``Retrieved``; and the health, None if the record has no token and needs none, or gets
            its tokens from outside.
        """
        return await run_sync(self.status_blocking, record, settings, now)

    def status_blocking(self, record: str, settings: Settings, now: float) -> tuple[str, Health | None]:
        """Do what `status` does, in the calling thread, for callers that ask for many records."""
        fault: MailError | None = None
        grant: Grant | None = None
        store = self.store(record)
        here = store.locate()
        try:
            grant = store.load_blocking()
        except MailError as error:
            fault = error
        keeps_one = settings.authentication == "oauth2" and settings.token_source is None
        if grant is None and fault is None and not keeps_one:
            return token_status_line(None), None
        try:
            client = self._client_of(record, settings, grant)
            provider, flow = client.provider, grant.flow if grant else ""
            facts = TokenSettings(
                account=settings.account,
                scopes=client.scopes,
                digest=settings_digest(client, flow),
                app_only=flow in APP_FLOWS,
                secret_expires_at=_expiry(client.certificate),
                location=here,
            )
        except MailError:
            # Incomplete settings must not hide the health of an existing token.
            provider = custom_provider(token_endpoint="https://unknown.invalid")  # noqa: S106
            facts = TokenSettings(account=settings.account, location=here)
        return token_status_line(grant), health(grant, facts, provider, now, store_error=fault)

    async def delete(self, record: str, settings: Settings) -> Revocation:
        """Delete a record's token here, and revoke it at the provider if possible.

        Returns:
            whether the provider was told, and a sentence about it.

        Raises:
            MailError: it could not be deleted here.
        """
        from mailslot.oauth.http import TokenHttp  # noqa: PLC0415 - an HTTP client is loaded only when it is needed

        store = self.store(record)
        try:
            grant = await store.load()
            if grant is None:
                return Revocation(notified=False, sentence="There was none.")
            flow = await run_sync(find_flow, grant.flow)
            async with TokenHttp(ca_file=settings.ca_file) as http:
                source = await run_sync(self.source, record, settings, flow, http)
                return await source.delete()
        except MailError as error:
            await store.delete()
            return Revocation(notified=False, sentence=f"The provider was not told: {error}")


def _expiry(certificate: ClientCertificate | None) -> float | None:
    if certificate is None:
        return None
    from mailslot.oauth.certificate import certificate_expiry  # noqa: PLC0415 - it loads cryptography and authlib

    return certificate_expiry(certificate)

"""Consent of a tenant's administrator, and the application that its devices share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import InputError
from mailslot.oauth.admin_consent import admin_consent_url, consent_scopes
from mailslot.oauth.claims import parse_claims
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.discovery import complete_provider
from mailslot.oauth.presets import preset
from mailslot.oauth.providers import custom_provider
from mailslot.slots.flows import find_flow
from mailslot.slots.oauth_client import client_credential
from mailslot.slots.shared_application import CUSTOM, stored_application

if TYPE_CHECKING:
    from mailslot.fleet.homes import FleetHomes
    from mailslot.fleet.postgres.consents import Consents
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.oauth.flow import Flow
    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.providers import Protocol, Provider
    from mailslot.slots.shared_application import SharedApplication

PREFIX: Final = "/consent"
"""The path of the pages."""

ADMIN_PATH: Final = f"{PREFIX}/admin"
CALLBACK_PATH: Final = f"{PREFIX}/callback"

LOOPBACK: Final = "http://localhost"
"""The redirect URI without pages: nothing listens there, and the person pastes the address from the browser."""

_PROTOCOLS: Final[tuple[Protocol, ...]] = ("smtp", "pop")


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """A request for an administrator's consent.

    Attributes:
        address: the address to open.
        opened_by: who may consent.
        scopes: the scopes that the application requests.
        app: whether the application signs in as itself.
        answer_at: the redirect URI for the answer; None if the provider's page sends no answer.
    """

    address: str
    opened_by: str
    scopes: tuple[str, ...]
    app: bool
    answer_at: str | None


@dataclass(frozen=True, slots=True)
class ApplicationCheck:
    """The permissions in a token of the application itself.

    Attributes:
        roles: the permissions in it.
        missing: the permissions for mail that are not in it, by protocol.
    """

    roles: tuple[str, ...]
    missing: dict[Protocol, str]


class TenantConsent:
    """The application of a tenant at one provider, and the consent to it. All methods but `check` block.

    Args:
        homes: the homes of the devices.
        consents: the stored consents.
        tenant: the name of the tenant.
        provider: the id of the provider, or ``custom``.
    """

    def __init__(self, homes: FleetHomes, consents: Consents, tenant: str, provider: str) -> None:
        self._homes = homes
        self._consents = consents
        self._tenant = tenant
        self._provider = provider

    def application(self) -> SharedApplication | None:
        """Return the application; None if there is none.

        Raises:
            MailError: it cannot be read.
        """
        return stored_application(self._home().shared_secrets, self._provider)

    def set_application(self, application: SharedApplication | None) -> None:
        """Store the application for all devices of the tenant; None removes it.

        Raises:
            MailError: it cannot be stored.
        """
        if application is not None:
            _provider_of(application)
        stored = False
        while not stored:  # once more for each data key that the tenant gets meanwhile
            sealed = None
            if application is not None:
                sealed = self._home().shared_secrets.sealed(self._provider, application.to_secret())
            stored = self._consents.share(self._tenant, self._provider, sealed)

    def ask(self, *, people: bool = False, redirect_uri: str | None = None) -> ConsentRequest:
        """Return the address for the administrator.

        Args:
            people: whether to request delegated permissions even if the application could sign in as itself.
            redirect_uri: the redirect URI; None for that of the pages, or `LOOPBACK` without pages.

        Raises:
            InputError: the tenant has no application there, or the provider has no such address.
        """
        application = self._needed_application()
        provider = _provider_of(application)
        app = application.client_secret is not None and not people
        scopes = consent_scopes(provider, _PROTOCOLS, app=app)
        base = self._consents.address()
        answer_at = redirect_uri or (LOOPBACK if base is None else f"{base}{ADMIN_PATH}")
        state = secrets.token_urlsafe(32)
        address = admin_consent_url(
            provider, client_id=application.client_id, scopes=scopes, redirect_uri=answer_at, state=state
        )
        consent = provider.admin_consent
        assert consent is not None  # noqa: S101 - there is an address
        if consent.answers:
            self._consents.ask(self._tenant, self._provider, state)
        return ConsentRequest(address, consent.opened_by, scopes, app, answer_at if consent.answers else None)

    async def check(self, http: TokenHttp) -> ApplicationCheck:
        """Get a token for the application, and return its permissions.

        Raises:
            MailError: there is no token; its cause says why.
        """
        from anyio.to_thread import run_sync  # noqa: PLC0415 - only this is not blocking

        application = await run_sync(self._needed_application)
        provider = _provider_of(application)
        provider.check_flow("app")
        secret, certificate = client_credential(application.client_secret)
        client = OAuthClient(
            await complete_provider(provider, http),
            application.client_id,
            "",
            consent_scopes(provider, _PROTOCOLS, app=True),
            client_secret=secret,
            certificate=certificate,
            tenant=application.tenant,
        )
        flow = cast("Flow[object]", await run_sync(find_flow, "app"))
        grant = await flow.obtain(client, http, None)
        claims = parse_claims(grant.access_token)
        roles = () if claims is None else claims.roles
        missing: dict[Protocol, str] = {
            protocol: service.app_roles[0]
            for protocol in _PROTOCOLS
            if (service := provider.service(protocol)) is not None
            if service.app_roles and claims is not None and not set(service.app_roles) & set(roles)
        }
        return ApplicationCheck(roles, missing)

    def _needed_application(self) -> SharedApplication:
        found = self.application()
        if found is None:
            raise InputError(
                f"The tenant {self._tenant} has no application for {self._provider}: set it by mailslot fleet "
                f"application {self._tenant} provider={self._provider} client_id=… tenant=…",
                stage="token",
            )
        return found

    def _home(self) -> PostgresHome:
        return self._homes.any_of(self._tenant, self._consents.devices(self._tenant))


def _provider_of(application: SharedApplication) -> Provider:
    """Return the provider of an application, at its tenant.

    Raises:
        InputError: there is no such provider, or no such tenant.
    """
    if application.provider == CUSTOM:
        return custom_provider(issuer=application.issuer, token_endpoint=application.token_endpoint)
    return preset(application.provider).at_tenant(application.tenant)

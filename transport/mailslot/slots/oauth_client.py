"""The OAuth client of a record, made from its settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.oauth.client import ClientCertificate, OAuthClient
from mailslot.slots.connection_profile import NotConfiguredError
from mailslot.slots.effective_settings import mail_service
from mailslot.slots.flows import APP_FLOWS, provider_of
from mailslot.slots.settings import protocol_of
from mailslot.slots.shared_application import shared_application
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from mailslot.oauth.providers import Provider
    from mailslot.slots.settings import Settings
    from mailslot.vault.vault import Vault

_PEM: Final = re.compile(r"(-----BEGIN ([A-Z ]+)-----.*?-----END \2-----)", re.DOTALL)


class ApplicationMissingError(NotConfiguredError):
    """No client_id is set; `provider` says how to register an application."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(
            "client_id",
            f"No application is set: register one with {provider.name}, and set its client_id.",
            stage="token",
        )
        self.provider = provider


def client_for_flow(
    vault: Vault, record: str, settings: Settings, flow: str | None, *, signs_in: bool = True
) -> OAuthClient:
    """Return the OAuth client of a record for one flow, before discovery. It blocks: call it in a thread.

    Args:
        vault: the secrets.
        record: the record.
        settings: its settings.
        flow: the flow's name; None if none is chosen yet.
        signs_in: whether somebody is to sign in by it; else it is for a grant that is there already.

    Raises:
        InputError: the provider, the client id or the account is missing, or they do not fit together.
        MailError: the secret cannot be read.
    """
    if flow is None:
        return client_for_record(vault, record, settings)
    client = client_for_record(vault, record, settings, app=flow in APP_FLOWS, registered=flow != "service_account")
    client.provider.check_flow(flow, signs_in=signs_in)
    return client


def client_for_record(
    vault: Vault, record: str, settings: Settings, *, app: bool = False, registered: bool = True
) -> OAuthClient:
    """Return the OAuth client of a record, independent of a flow. It blocks: call it in a thread.

    Args:
        vault: the secrets.
        record: the record.
        settings: its settings.
        app: whether the application signs in as itself, and requests the scopes for that.
        registered: whether a ``client_id`` is required.

    Raises:
        InputError: as for `client_for_flow`.
        MailError: as for `client_for_flow`.
    """
    shared = shared_application(vault, settings)
    if shared is not None:
        settings = shared.applied(settings)
    provider = provider_of(settings).at_tenant(settings.tenant)
    if settings.account is None:
        raise NotConfiguredError(
            "account", "The account is not set, so it is not known whose token to get.", stage="token"
        )
    if settings.client_id is None and registered:
        raise ApplicationMissingError(provider)
    service = mail_service(settings, protocol_of(record, settings))
    own = vault.read(record, "client_secret")
    secret, certificate = client_credential(shared.client_secret if own is None and shared is not None else own)
    return OAuthClient(
        provider=provider,
        client_id=settings.client_id or "",
        account=settings.account,
        scopes=settings.scopes or (provider.scopes(service, app=app) if service else ()),
        client_secret=secret,
        certificate=certificate,
        tenant=settings.tenant,
        redirect_uri=settings.redirect_uri,
        redirect_port=settings.redirect_port,
    )


def client_credential(stored: Secret | None) -> tuple[Secret | None, ClientCertificate | None]:
    """Return the client secret, or the client certificate with its key if the stored secret is in PEM."""
    text = "" if stored is None else stored.reveal()
    blocks = {name: block for block, name in _PEM.findall(text)}
    key = next((block for name, block in blocks.items() if name.endswith("PRIVATE KEY")), None)
    if key is None or "CERTIFICATE" not in blocks:
        return stored, None
    return None, ClientCertificate(Secret(key), blocks["CERTIFICATE"])

"""The application of a tenant: registered with a provider once, and used by all devices of the tenant.

It is one of the secrets that these devices share. A record uses it if its settings name the same provider, and no
``client_id``. It is bound to that provider, so a device's settings cannot have its secret sent elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Final

from mailslot.vault.errors import unreadable_error
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from mailslot.slots.settings import Settings
    from mailslot.vault.vault import SharedSecrets, Vault

CUSTOM: Final = "custom"


@dataclass(frozen=True, slots=True)
class SharedApplication:
    """An application that all devices of a tenant share.

    Attributes:
        provider: the id of the provider, or ``custom``.
        client_id: the application's id, as the provider gave it; empty for a service account.
        tenant: the organisation's tenant at the provider; None if the provider has none.
        issuer: for a provider of one's own, its issuer.
        token_endpoint: for a provider of one's own without issuer, its token endpoint.
        client_secret: its secret, or its key and certificate in PEM; None for a public client.
    """

    provider: str
    client_id: str = ""
    tenant: str | None = None
    issuer: str | None = None
    token_endpoint: str | None = None
    client_secret: Secret | None = field(default=None, repr=False)

    def to_secret(self) -> Secret:
        """Return it as JSON, to be stored in the vault only."""
        values: dict[str, str | None] = {each.name: getattr(self, each.name) for each in fields(self)}
        values["client_secret"] = None if self.client_secret is None else self.client_secret.reveal()
        return Secret(json.dumps(values))

    @classmethod
    def from_secret(cls, secret: Secret) -> SharedApplication:
        """Return the application that `to_secret` serialized.

        Raises:
            ValueError: it is not one.
        """
        try:
            values = json.loads(secret.reveal())
            kept = values.pop("client_secret")
            return cls(**values, client_secret=None if kept is None else Secret(kept))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not an application") from error

    def fits(self, settings: Settings) -> bool:
        """Whether a record with these settings, which name no application, uses it."""
        if self.provider != CUSTOM:
            return settings.provider == self.provider
        return settings.provider in {None, CUSTOM} and (settings.issuer, settings.token_endpoint) == (
            self.issuer,
            self.token_endpoint,
        )

    def applied(self, settings: Settings) -> Settings:
        """Return a record's settings with what this application adds."""
        return replace(settings, client_id=self.client_id or None, tenant=settings.tenant or self.tenant)


def shared_application(vault: Vault, settings: Settings) -> SharedApplication | None:
    """Return the application of the tenant that a record uses; None if it has its own, or there is none. It blocks.

    Raises:
        VaultError: it cannot be read.
    """
    if vault.shared is None or settings.client_id is not None:
        return None
    found = stored_application(vault.shared, settings.provider or CUSTOM)
    return found if found is not None and found.fits(settings) else None


def stored_application(shared: SharedSecrets, provider: str) -> SharedApplication | None:
    """Return the application that a tenant has for a provider; None if there is none. It blocks.

    Raises:
        VaultError: it cannot be read.
    """
    secret = shared.read(provider)
    if secret is None:
        return None
    try:
        return SharedApplication.from_secret(secret)
    except ValueError:  # its text is not used, since it may quote the secret
        raise unreadable_error(
            f"The application for {provider} was stored by another version of mailslot: set it again.",
            "the field opens, but holds no application",
        ) from None

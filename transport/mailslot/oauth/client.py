"""The OAuth client: which application asks which provider for tokens, for which scopes and mailbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailslot.oauth.providers import Provider
    from mailslot.wire.secret import Secret


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The key pair with which an application authenticates instead of a secret (RFC 7523).

    Attributes:
        key: the private key in PEM, unencrypted.
        certificate: the certificate in PEM, as it was registered with the provider; not secret.
    """

    key: Secret
    certificate: str


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """An application registered with a provider, acting for one record.

    Attributes:
        provider: the provider, with known endpoints (see `mailslot.oauth.discovery.complete_provider`).
        client_id: the application's id, as the provider gave it.
        account: the mailbox that the token is for.
        scopes: the scopes to request.
        client_secret: the application's secret; None for a public client.
        certificate: used instead of a secret, also if there is one.
        tenant: the organisation's tenant; None for the provider's default, or if it has no tenants.
        redirect_uri: the redirect URI for a browser on another machine (RFC 6749 section 3.1.2), for providers that
            compare it exactly; None for a loopback address with any port.
        redirect_port: the port of the loopback listener; None for any free port (RFC 8252 section 7.3).
    """

    provider: Provider
    client_id: str
    account: str
    scopes: tuple[str, ...]
    client_secret: Secret | None = field(default=None, repr=False)
    certificate: ClientCertificate | None = field(default=None, repr=False)
    tenant: str | None = None
    redirect_uri: str | None = None
    redirect_port: int | None = None

    @property
    def signs_assertions(self) -> bool:
        """Whether it authenticates with an assertion, which contains the time (RFC 7523 section 2.2)."""
        by_secret = self.provider.quirks.client_authentication == "client_secret_jwt"
        return self.certificate is not None or (by_secret and bool(self.client_secret))

    @property
    def is_confidential(self) -> bool:
        """Whether it can authenticate (RFC 6749 section 2.1)."""
        return self.certificate is not None or bool(self.client_secret)

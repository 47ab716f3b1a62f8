"""What is known in addition to an error when it is diagnosed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mailslot.slots.effective_settings import mail_service

if TYPE_CHECKING:
    from mailslot.net.endpoint import Security
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.providers import Protocol as Service
    from mailslot.oauth.providers import Provider
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.wire.secret import Secret


@dataclass(frozen=True, slots=True)
class DiagnosisContext:
    """What is known in addition to the error.

    Attributes:
        protocol: the slot's protocol.
        host: the mail server's name, as configured.
        port: its port.
        security: the configured encryption.
        authentication: ``none``, ``password``, ``pop_before_smtp`` or ``oauth2``.
        account: the mailbox that was used to sign in; None without authentication.
        sender: the envelope's sender in SMTP.
        provider: the configured provider; None if it is not set, and then follows from a well-known server.
        token: the access token that was sent; None if none was. Only its claims are read; it is never shown.
        scopes: the granted scopes; empty if the provider did not name them.
        owner: who signed in at the provider; None if it did not name the user.
        fresh: whether the token was obtained or refreshed for this attempt.
        skew: seconds that the true time is ahead of this device's clock; 0.0 if unknown.
        now: this device's time, in seconds since the epoch; None if it does not matter.
        valid_from: the beginning of the server certificate's validity, likewise; None if unknown.
        valid_until: its end, likewise.
        own_scopes: whether the slot's settings name scopes, instead of the provider's.
        spoken: the provider's service that was used; None for the protocol's own.
    """

    protocol: Literal["SMTP", "POP"]
    host: str
    port: int
    security: Security
    authentication: str
    account: str | None = None
    sender: str | None = None
    provider: Provider | None = None
    token: Secret | None = None
    scopes: tuple[str, ...] = ()
    owner: str | None = None
    fresh: bool = False
    skew: float = 0.0
    now: float | None = None
    valid_from: float | None = None
    valid_until: float | None = None
    own_scopes: bool = False
    spoken: Service | None = None

    @property
    def service(self) -> Service:
        """The provider's service that was used."""
        return self.spoken or ("smtp" if self.protocol == "SMTP" else "pop")

    @classmethod
    def of(cls, profile: ConnectionProfile, grant: Grant | None, now: float) -> DiagnosisContext:
        """Return the context of a profile and its grant.

        Args:
            profile: the connection profile of the session.
            grant: the record's grant as last refreshed; None without one.
            now: this device's time, in seconds since the epoch.
        """
        return cls(
            profile.protocol,
            profile.endpoint.host,
            profile.endpoint.port,
            profile.endpoint.security,
            profile.settings.authentication,
            account=profile.settings.account,
            sender=profile.settings.sender_address,
            provider=profile.provider,
            token=None if grant is None else grant.access_token,
            scopes=() if grant is None else grant.scopes,
            owner=None if grant is None else grant.account,
            fresh=grant is not None and grant.forced > 0,
            skew=0.0 if grant is None else grant.skew,
            now=now,
            own_scopes=bool(profile.settings.scopes),
            spoken=mail_service(profile.settings, profile.protocol),
        )

"""What is known besides an error when its cause is looked for."""

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
    """What is known besides the error.

    Attributes:
        protocol: what the slot is for.
        host: the mail server's name, as it was set.
        port: its port.
        security: how the connection was to be encrypted.
        authentication: ``none``, ``password``, ``pop_before_smtp`` or ``oauth2``.
        account: the mailbox that was signed in to; None without a sign-in.
        sender: the envelope's sender, over SMTP.
        provider: the account's provider; None where it is not set. A well-known server tells it too.
        token: the access token that was sent; None where none was. It is looked into, and shown nowhere.
        scopes: what was granted, as the provider said; empty where it did not say.
        owner: who signed in at the provider, as it said; None where it did not say.
        fresh: whether the token was new: obtained or renewed for this very attempt.
        skew: seconds that true time is ahead of this device's clock; 0.0 where that is not known.
        now: this device's time, in seconds since the epoch; None where it does not matter.
        valid_from: when the server's certificate begins to be valid, likewise; None where it was not seen.
        valid_until: when it ends, likewise.
        spoken: which of a provider's services was used; None for the protocol's own.
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
    spoken: Service | None = None

    @property
    def service(self) -> Service:
        """Which of a provider's services was used."""
        return self.spoken or ("smtp" if self.protocol == "SMTP" else "pop")

    @classmethod
    def of(cls, access: ConnectionProfile, grant: Grant | None, now: float) -> DiagnosisContext:
        """Return what the settings and the grant tell.

        Args:
            access: how the session was opened.
            grant: its record's, as it was renewed last; None without one.
            now: this device's time, in seconds since the epoch.
        """
        return cls(
            access.protocol,
            access.endpoint.host,
            access.endpoint.port,
            access.endpoint.security,
            access.settings.authentication,
            account=access.settings.account,
            sender=access.settings.sender_address,
            provider=access.provider,
            token=None if grant is None else grant.access_token,
            scopes=() if grant is None else grant.scopes,
            owner=None if grant is None else grant.account,
            fresh=grant is not None and grant.forced > 0,
            skew=0.0 if grant is None else grant.skew,
            now=now,
            spoken=mail_service(access.settings, access.protocol),
        )

"""The connection profile of a record: all that a session with its server needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import InputError

if TYPE_CHECKING:
    import ssl

    from mailslot.errors import Stage
    from mailslot.net.endpoint import Endpoint
    from mailslot.oauth.providers import Provider
    from mailslot.sasl.credentials import Credentials, TokenSource
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol


class NotConfiguredError(InputError):
    """A setting is missing without which nothing can be done.

    Attributes:
        missing: its key.
    """

    def __init__(self, missing: str, sentence: str, *, stage: Stage = "resolve") -> None:
        super().__init__(sentence, stage=stage, cause="not_configured")
        self.missing = missing


@dataclass(frozen=True, slots=True)
class ConnectionProfile:
    """All that is needed to open a session for a record.

    Attributes:
        record: the record.
        protocol: what it is for.
        settings: its effective settings.
        endpoint: the server.
        secondary_endpoint: the server for when the primary cannot be reached; None without one.
        auth: the credentials; None where nobody signs in.
        token_source: the source of the access token; None where none is needed.
        ssl_context: TLS settings; None for the system's authorities.
        provider: the account's provider; None where it is not set.
        timeout: seconds for each step.
        pop_profile: the profile for signing in by POP before SMTP; None where that is not needed.
    """

    record: str
    protocol: Protocol
    settings: Settings
    endpoint: Endpoint
    secondary_endpoint: Endpoint | None
    auth: Credentials | None
    token_source: TokenSource | None
    ssl_context: ssl.SSLContext | None
    provider: Provider | None
    timeout: float
    pop_profile: ConnectionProfile | None

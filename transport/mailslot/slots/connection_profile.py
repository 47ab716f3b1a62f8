"""Connection profiles: everything that is needed to open a session with a record's server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import InputError

if TYPE_CHECKING:
    import ssl

    from mailslot.errors import Stage
    from mailslot.net.endpoint import Endpoint
    from mailslot.net.server_gate import ServerGate
    from mailslot.oauth.providers import Provider
    from mailslot.sasl.credentials import Credentials, TokenSource
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol


class NotConfiguredError(InputError):
    """A required setting is missing.

    Attributes:
        missing: the key of that setting.
    """

    def __init__(self, missing: str, sentence: str, *, stage: Stage = "resolve") -> None:
        super().__init__(sentence, stage=stage, cause="not_configured")
        self.missing = missing


@dataclass(frozen=True, slots=True)
class ConnectionProfile:
    """Everything that is needed to open a session for a record.

    Attributes:
        record: the record.
        protocol: whether it is for SMTP or POP.
        settings: its effective settings.
        endpoint: the server.
        secondary_endpoint: the server to use if the first one cannot be reached; None without one.
        auth: the credentials; None to send without signing in.
        token_source: the source of access tokens; None if none is needed.
        ssl_context: TLS settings; None for the system's authorities.
        provider: the account's provider; None if it is not set.
        timeout: seconds for each step.
        pop_profile: the profile for POP before SMTP; None if that is not used.
        gate: says whether a server may be contacted now; None if it always may.
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
    gate: ServerGate | None = None

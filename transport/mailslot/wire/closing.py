"""The ends of a server's session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["quit", "closed", "idle", "limit", "revoked", "stopped", "tls", "protocol", "error"]
"""How a connection ended: by QUIT; closed or broken by the client; by a timeout; by a limit, such as on bad commands;
because the user's permission was revoked; because the server stops; by a failed handshake; because the client violates
the protocol or uses another one; or by an error on our side."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The event that the session is over: the remaining octets must be sent and the connection closed."""

    ending: Ending

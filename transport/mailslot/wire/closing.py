"""How a server's session ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["quit", "closed", "idle", "limit", "revoked", "stopped", "tls", "protocol", "error"]
"""How a connection ended: by QUIT; closed or broken by the client; after silence; by a limit, such as that on bad
commands; because whoever has signed in may no longer; because the server stops; by a failed handshake; because the
client breaks the protocol or speaks another one; or by an error on our side."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The event that a session is over: send what is left to send, and close the connection."""

    ending: Ending

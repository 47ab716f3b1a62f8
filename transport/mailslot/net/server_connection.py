"""A client's connection to a server, as seen by a backend: the basis of its decisions and its log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailslot.wire.transcript import Transcript

if TYPE_CHECKING:
    from mailslot.net.peer import Peer
    from mailslot.wire.closing import Ending
    from mailslot.wire.reply import Reply


@dataclass(slots=True)
class ServerConnection:
    """One connection; the session updates it.

    Attributes:
        peer: the client's address, the listener and TLS.
        started: when it was accepted, in seconds since the epoch.
        user: the user who has signed in; None before.
        mechanism: the SASL mechanism of the last sign-in attempt; None for the protocol's own commands.
        tried_user: the user name of the last sign-in attempt, successful or not; None without one.
        transcript: the last lines of the dialogue, without secrets and without messages.
        ending: how the connection ended; None while it is open.
        other_protocol: the protocol that the client used instead of ours, ``"TLS"`` or ``"HTTP"``; None for ours.
            ``"TLS"`` means that it began with a handshake on a listener without implicit TLS.
        refusal: the last negative reply, once the connection has ended; None without one.
    """

    peer: Peer
    started: float
    user: str | None = None
    mechanism: str | None = None
    tried_user: str | None = None
    transcript: Transcript = field(default_factory=Transcript)
    ending: Ending | None = None
    other_protocol: str | None = None
    refusal: Reply | None = None

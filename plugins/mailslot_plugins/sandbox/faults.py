"""The faults that a test injects, and the moments of a dialogue at which they occur."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyio import Event

ConnectionEnd = Literal["close", "reset"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject at one moment of a dialogue.

    A moment is a command with its reply, named by the verb, or ``greeting``, ``TLS`` (the handshake), ``challenge``
    (each), ``sign_in`` (the reply to a finished authentication), ``content`` (before DATA's message is read) or
    ``message`` (the reply to a complete message).

    Attributes:
        at: the moment.
        nth: the number of this moment on a connection, counted from 1; 0 for all.
        protocol: ``smtp`` or ``pop3``; empty for both.
        connection: the number of the connection of that protocol, counted from 1; 0 for all.
        until: an event to wait for first.
        delay: seconds to wait then; ``math.inf`` for silence.
        act: False to neither execute the command nor reply.
        replace: octets to send instead of the reply.
        keep: the number of octets of the reply to send; with `ending`, the connection then closes at once.
        append: octets to send after the reply.
        split: whether to write octet by octet.
        pause: seconds between two octets that are split.
        ending: how the connection closes afterwards; None to keep it open.
    """

    at: str
    nth: int = 0
    _: KW_ONLY
    protocol: str = ""
    connection: int = 0
    until: Event | None = None
    delay: float = 0.0
    act: bool = True
    replace: bytes | None = None
    keep: int | None = None
    append: bytes = b""
    split: bool = False
    pause: float = 0.0
    ending: ConnectionEnd | None = None

    def said_instead_of(self, reply: bytes) -> bytes:
        """Return the octets to send instead of a reply."""
        said = self.replace if self.replace is not None else reply if self.act else b""
        return said[: self.keep] + self.append


def find_fault(faults: Iterable[Fault], moment: str, nth: int, protocol: str, connection: int) -> Fault | None:
    """Return the first fault that is planned for the nth moment of this name on a connection."""
    for fault in faults:
        if (
            fault.at == moment
            and fault.nth in {0, nth}
            and fault.protocol in {"", protocol}
            and fault.connection in {0, connection}
        ):
            return fault
    return None

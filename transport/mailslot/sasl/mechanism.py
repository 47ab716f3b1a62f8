"""What a SASL mechanism is: octets in, octets out (RFC 4422), after go-sasl's `Start` and `Next`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mailslot.wire.secret import Secret


class MechanismError(Exception):
    """The server's challenge makes no sense, or does not prove what it has to; the sign-in is to be cancelled."""


class Mechanism(Protocol):
    """One sign-in by one mechanism; it is used once."""

    @property
    def name(self) -> str:
        """The mechanism's registered name."""
        ...

    @property
    def secret(self) -> Secret:
        """What must never be seen, so that it can be masked where a server echoes it."""
        ...

    @property
    def finished(self) -> bool:
        """Whether a yes of the server may be believed now."""
        ...

    def start(self) -> bytes | None:
        """Return the initial response; None for a mechanism in which the server speaks first.

        ``b""`` is an empty response and not the same as None (RFC 4422 section 4.3.a).
        """
        ...

    def next(self, challenge: bytes) -> bytes:
        """Return the response to a challenge.

        Raises:
            MechanismError: there is none.
        """
        ...

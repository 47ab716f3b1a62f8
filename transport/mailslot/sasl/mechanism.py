"""What a SASL mechanism is: octets in, octets out (RFC 4422), after go-sasl's `Start` and `Next`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.secret import Secret

CredentialKind = Literal["token", "password"]
"""What a mechanism signs in with: a bearer token, or a password."""


class MechanismError(Exception):
    """The server's challenge makes no sense, or does not prove what it has to; the sign-in is to be cancelled."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs in, with what, and where.

    Attributes:
        user: the user name (RFC 4422: the authentication identity).
        secret: the token or the password.
        host: the server's name as the caller gave it.
        port: its port.
    """

    user: str
    secret: Secret
    host: str = ""
    port: int = 0


class Mechanism(ABC):
    """One sign-in by one mechanism; it is used once.

    A class says in its own variables what `mailslot.sasl.exchange` and `mailslot.sasl.registry` have to know of it.

    Attributes:
        name: the registered name.
        kind: what it signs in with.
        strength: of several mechanisms of one kind that a server offers, the one with the highest is used.
        waits_for_prompt: whether the initial response may be too long for the line of the command, and so is sent
            only when the server asks for it, or refuses the command without it.
        free_prompts: whether the server's challenges are prompts in any words, which need not be base64.
        is_slow: whether `next` takes so long that it belongs into a thread.
        presented: whether the credentials were given out to be sent; the exchange notes it.
        reasons: a refusal's reasons, where the mechanism has them; empty where they could not be read, None where
            there were none.
    """

    name: ClassVar[str]
    kind: ClassVar[CredentialKind]
    strength: ClassVar[int]
    waits_for_prompt: ClassVar[bool] = False
    free_prompts: ClassVar[bool] = False
    is_slow: ClassVar[bool] = False

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.presented = False
        self.reasons: Mapping[str, str] | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must never be seen, so that it can be masked where a server echoes it; there may be more later."""
        return (self.identity.secret,)

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether a yes of the server may be believed now."""

    @abstractmethod
    def start(self) -> bytes | None:
        """Return the initial response; None for a mechanism in which the server speaks first.

        ``b""`` is an empty response and not the same as None (RFC 4422 section 4.3.a).
        """

    @abstractmethod
    def next(self, challenge: bytes) -> bytes:
        """Return the response to a challenge.

        Raises:
            MechanismError: there is none.
        """

"""The interface of SASL mechanisms, without I/O (RFC 4422), after go-sasl's `Start` and `Next`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.secret import Secret

CredentialKind = Literal["token", "password"]
"""The credential of a mechanism: a bearer token or a password."""


class MechanismError(Exception):
    """The server's challenge is invalid, or does not prove what it must; the exchange has to be cancelled."""


@dataclass(frozen=True, slots=True)
class AuthenticationContext:
    """What a mechanism needs to know.

    Attributes:
        user: the user name (RFC 4422: the authentication identity).
        secret: the token or the password.
        host: the server's name, as the caller gave it.
        port: the server's port.
    """

    user: str
    secret: Secret
    host: str = ""
    port: int = 0


class Mechanism(ABC):
    """One run of a mechanism; an instance is used once.

    Attributes:
        name: the registered name.
        credential_kind: the credential that it needs.
        strength: if a server offers several mechanisms of one kind, the strongest is used.
        defers_initial_response: whether the initial response may be too long for the command line, so that it is
            sent only when the server prompts for it or refuses the command without it.
        accepts_any_prompt: whether challenges are prompts with arbitrary text, which need not be base64.
        is_slow: whether `next` is slow enough to run in a worker thread.
        credentials_sent: whether the credentials were sent; set by `mailslot.sasl.exchange`.
        error_challenge: the error challenge of a refusal; empty if it could not be parsed, None without one.
    """

    name: ClassVar[str]
    credential_kind: ClassVar[CredentialKind]
    strength: ClassVar[int]
    defers_initial_response: ClassVar[bool] = False
    accepts_any_prompt: ClassVar[bool] = False
    is_slow: ClassVar[bool] = False

    def __init__(self, context: AuthenticationContext) -> None:
        self.context = context
        self.credentials_sent = False
        self.error_challenge: Mapping[str, str] | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets to mask in replies; more may be added during the exchange."""
        return (self.context.secret,)

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether a positive reply may be trusted now."""

    @abstractmethod
    def start(self) -> bytes | None:
        """Return the initial response; None if the server speaks first.

        ``b""`` is an empty initial response, which differs from None (RFC 4422 section 4.3.a).
        """

    @abstractmethod
    def next(self, challenge: bytes) -> bytes:
        """Return the response to a challenge.

        Raises:
            MechanismError: the challenge is invalid.
        """

"""The server's side of SASL mechanisms, without I/O (RFC 4422), after go-sasl's `Server`; PLAIN and LOGIN.

Bearer mechanisms are in `mailslot.sasl.bearer_server`, SCRAM is in `mailslot.sasl.scram_server`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from mailslot.sasl.mechanism import MechanismError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

USER_PROMPT: Final = b"Username:"
PASSWORD_PROMPT: Final = b"Password:"
"""LOGIN's prompts; some devices accept no others."""


@dataclass(frozen=True, slots=True)
class SuppliedSecret:
    """The user and secret that a client supplied; the caller has to verify them.

    Attributes:
        user: the user name.
        secret: the password or the token.
    """

    user: str
    secret: Secret


class ServerMechanism(ABC):
    """One run of a mechanism; an instance is used once.

    Attributes:
        name: the registered name.
    """

    name: ClassVar[str]

    @abstractmethod
    def start(self, initial: bytes | None) -> bytes | SuppliedSecret:
        """Return the first challenge, or the supplied secret.

        Args:
            initial: the initial response; None without one, which differs from an empty one (RFC 4422 section 4.3.a).

        Raises:
            MechanismError: the response is malformed.
        """

    @abstractmethod
    def next(self, response: bytes) -> bytes | SuppliedSecret:
        """Return the next challenge, or the supplied secret.

        Raises:
            MechanismError: the response is malformed.
        """

    def explain_refusal(self) -> bytes | None:
        """Return the error challenge with the reason of a refusal, whose response is ignored; None if there is none."""
        return None


class PlainServer(ServerMechanism):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"

    def start(self, initial: bytes | None) -> bytes | SuppliedSecret:
        """Return the password, or an empty challenge if there was no initial response."""
        return b"" if initial is None else self.next(initial)

    def next(self, response: bytes) -> SuppliedSecret:
        """Return the password.

        Raises:
            MechanismError: the response is not ``authzid NUL authcid NUL password``, or would act for another user.
        """
        authorization, *rest = response.split(b"\0")
        if len(rest) != 2:
            raise MechanismError("not the three parts of PLAIN")
        if authorization not in {b"", rest[0]}:
            raise MechanismError("a user who would act for another one")
        return SuppliedSecret(decode_text(rest[0]), Secret(decode_text(rest[1])))


class LoginServer(ServerMechanism):
    """LOGIN (draft-murchison-sasl-login). The user may come as an initial response, as some devices send it."""

    name = "LOGIN"

    def __init__(self) -> None:
        self._user: str | None = None

    def start(self, initial: bytes | None) -> bytes:
        """Return the prompt for the user; for the password, if the user is known."""
        if initial is None:
            return USER_PROMPT
        self._user = decode_text(initial)
        return PASSWORD_PROMPT

    def next(self, response: bytes) -> bytes | SuppliedSecret:
        """Return the prompt for the password, then the password."""
        if self._user is None:
            return self.start(response)
        return SuppliedSecret(self._user, Secret(decode_text(response)))


Mechanisms: TypeAlias = "Mapping[str, Callable[[], ServerMechanism]]"
"""Functions that create a mechanism, by its name, in the order in which they are offered."""

NO_MECHANISMS: Final[Mechanisms] = {}

SERVER_MECHANISMS: Final[Mechanisms] = {mechanism.name: mechanism for mechanism in (PlainServer, LoginServer)}
"""By name, in the order in which they are offered."""


def decode_text(octets: bytes) -> str:
    """Return text in UTF-8 (RFC 4616 section 2), or in Latin-1, which older devices send."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")

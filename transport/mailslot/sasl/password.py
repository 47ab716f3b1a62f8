"""PLAIN and LOGIN: the password itself, for use within TLS only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mailslot.sasl.mechanism import Mechanism, MechanismError

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import CredentialKind, Identity


class Plain(Mechanism):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"
    kind: ClassVar[CredentialKind] = "password"
    strength = 2

    @property
    def finished(self) -> bool:
        """True: all is said at once."""
        return True

    def start(self) -> bytes:
        """Return ``authzid NUL authcid NUL password``, the first one empty."""
        return f"\0{self.identity.user}\0{self.identity.secret.reveal()}".encode()

    def next(self, challenge: bytes) -> bytes:  # noqa: ARG002 - no challenge is due
        """Raise: the server has nothing to ask."""
        raise MechanismError("a challenge where PLAIN has none")


class Login(Mechanism):
    """LOGIN (draft-murchison-sasl-login): the server asks for the user, then for the password, in any words."""

    name = "LOGIN"
    kind: ClassVar[CredentialKind] = "password"
    strength = 1
    free_prompts = True

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity)
        self._answers = [identity.user, identity.secret.reveal()]

    @property
    def finished(self) -> bool:
        """Whether both were asked for."""
        return not self._answers

    def start(self) -> None:
        """Return None: the server speaks first."""

    def next(self, challenge: bytes) -> bytes:  # noqa: ARG002 - prompts differ and mean nothing
        """Return the user, then the password.

        Raises:
            MechanismError: both were given.
        """
        if not self._answers:
            raise MechanismError("a third challenge in LOGIN")
        return self._answers.pop(0).encode()

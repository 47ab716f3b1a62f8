"""PLAIN and LOGIN, which send the password itself and so need TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mailslot.sasl.mechanism import Mechanism, MechanismError

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import AuthenticationContext, CredentialKind


class Plain(Mechanism):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"
    credential_kind: ClassVar[CredentialKind] = "password"
    strength = 2

    @property
    def is_complete(self) -> bool:
        """Always True: there is only the initial response."""
        return True

    def start(self) -> bytes:
        """Return ``authzid NUL authcid NUL password``, the first one empty."""
        return f"\0{self.context.user}\0{self.context.secret.reveal()}".encode()

    def next(self, challenge: bytes) -> bytes:  # noqa: ARG002 - no challenge is due
        """Raise: PLAIN has no challenges."""
        raise MechanismError("a challenge where PLAIN has none")


class Login(Mechanism):
    """LOGIN (draft-murchison-sasl-login): the server prompts for the user, then for the password, with any text."""

    name = "LOGIN"
    credential_kind: ClassVar[CredentialKind] = "password"
    strength = 1
    accepts_any_prompt = True

    def __init__(self, context: AuthenticationContext) -> None:
        super().__init__(context)
        self._responses = [context.user, context.secret.reveal()]

    @property
    def is_complete(self) -> bool:
        """Whether both were sent."""
        return not self._responses

    def start(self) -> None:
        """Return None: the server speaks first."""

    def next(self, challenge: bytes) -> bytes:  # noqa: ARG002 - prompts differ and mean nothing
        """Return the user, then the password.

        Raises:
            MechanismError: both were sent.
        """
        if not self._responses:
            raise MechanismError("a third challenge in LOGIN")
        return self._responses.pop(0).encode()

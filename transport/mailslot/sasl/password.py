"""PLAIN and LOGIN: the password itself, for use within TLS only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.sasl.mechanism import MechanismError

if TYPE_CHECKING:
    from mailslot.sasl.credentials import Password
    from mailslot.wire.secret import Secret


class Plain:
    """PLAIN (RFC 4616)."""

    name = "PLAIN"
    finished = True

    def __init__(self, credentials: Password) -> None:
        self._credentials = credentials

    @property
    def secret(self) -> Secret:
        """The password."""
        return self._credentials.password

    def start(self) -> bytes:
        """Return ``authzid NUL authcid NUL password``, the first one empty."""
        return f"\0{self._credentials.user}\0{self._credentials.password.reveal()}".encode()

    def next(self, challenge: bytes) -> bytes:  # noqa: ARG002 - no challenge is due
        """Raise: the server has nothing to ask."""
        raise MechanismError("a challenge where PLAIN has none")


class Login:
    """LOGIN (draft-murchison-sasl-login): the server asks for the user, then for the password, in any words."""

    name = "LOGIN"

    def __init__(self, credentials: Password) -> None:
        self._credentials = credentials
        self._answers = [credentials.user, credentials.password.reveal()]

    @property
    def secret(self) -> Secret:
        """The password."""
        return self._credentials.password

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

"""XOAUTH2 and OAUTHBEARER: a bearer token, and the server's reasons where it refuses one.

XOAUTH2 after Google's "OAuth 2.0 Mechanism" and Microsoft's "Authenticate an IMAP, POP or SMTP connection using
OAuth"; OAUTHBEARER after RFC 7628. In both a challenge that follows the token is a refusal's reasons as JSON; it
has to be answered (XOAUTH2: empty, OAUTHBEARER: one \\x01) before the server says no in so many words.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, cast

from mailslot.sasl.mechanism import Mechanism, MechanismError

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import CredentialKind

MAX_REASONS: Final = 8_192
"""Octets of a challenge that are looked into; more are not reasons but an attack."""


class _Bearer(Mechanism):
    """What both mechanisms share.

    Hardly a token fits the line of the command (RFC 4954 section 4, RFC 5034 section 4), and servers that cut the
    line refuse the token as if it were bad: it waits for the prompt.
    """

    kind: ClassVar[CredentialKind] = "token"
    waits_for_prompt = True
    _acknowledgement: ClassVar[bytes]

    @abstractmethod
    def start(self) -> bytes:
        """Return what holds the token."""

    @property
    def finished(self) -> bool:
        """Whether the server gave no reasons against it."""
        return self.reasons is None

    def next(self, challenge: bytes) -> bytes:
        """Keep the reasons and acknowledge them.

        Raises:
            MechanismError: the server has given its reasons before.
        """
        if self.reasons is not None:
            raise MechanismError("a second challenge after the reasons of a refusal")
        self.reasons = _reasons(challenge)
        return self._acknowledgement


class XOAuth2(_Bearer):
    """XOAUTH2."""

    name = "XOAUTH2"
    strength = 1
    _acknowledgement = b""

    def start(self) -> bytes:
        """Return ``user=…\\x01auth=Bearer …\\x01\\x01``."""
        return f"user={self.identity.user}\x01auth=Bearer {self.identity.secret.reveal()}\x01\x01".encode()


class OAuthBearer(_Bearer):
    """OAUTHBEARER, the standard one; host and port are those that the client wanted (RFC 7628 section 3.1)."""

    name = "OAUTHBEARER"
    strength = 2
    _acknowledgement = b"\x01"

    def start(self) -> bytes:
        """Return the GS2 header with the user (RFC 5801 section 4) and the key/value pairs."""
        identity = self.identity
        user = identity.user.replace("=", "=3D").replace(",", "=2C")
        server = f"host={identity.host}\x01port={identity.port}"
        return f"n,a={user},\x01{server}\x01auth=Bearer {identity.secret.reveal()}\x01\x01".encode()


def _reasons(challenge: bytes) -> dict[str, str]:
    if len(challenge) > MAX_REASONS:
        return {}
    try:
        reasons: object = json.loads(challenge)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(reasons, dict):
        return {}
    return {_text(key): _text(value) for key, value in cast("dict[object, object]", reasons).items()}


def _text(value: object) -> str:
    # JSON can hold half a character, which nobody could print.
    return str(value).encode("utf-8", "backslashreplace").decode()

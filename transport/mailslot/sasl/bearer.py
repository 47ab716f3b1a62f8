"""XOAUTH2 and OAUTHBEARER: authentication by a bearer token.

XOAUTH2 after Google's "OAuth 2.0 Mechanism" and Microsoft's "Authenticate an IMAP, POP or SMTP connection using OAuth";
OAUTHBEARER after RFC 7628. In both, a challenge after the token is an error challenge: the reasons of a refusal, as
JSON. The client must acknowledge it (XOAUTH2: empty, OAUTHBEARER: one \\x01) before the server sends its final reply.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, cast

from mailslot.sasl.mechanism import Mechanism, MechanismError

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import CredentialKind

MAX_ERROR_CHALLENGE: Final = 8_192
"""Octets of an error challenge that are parsed; a longer one is ignored as hostile."""


class _Bearer(Mechanism):
    """What both mechanisms share.

    Most tokens do not fit into the AUTH command line (RFC 4954 section 4, RFC 5034 section 4), and a server that
    truncates the line refuses the token as invalid, so the initial response is deferred.
    """

    credential_kind: ClassVar[CredentialKind] = "token"
    defers_initial_response = True
    _acknowledgement: ClassVar[bytes]

    @abstractmethod
    def start(self) -> bytes:
        """Return the initial response, which contains the token."""

    @property
    def is_complete(self) -> bool:
        """Whether no error challenge came."""
        return self.error_challenge is None

    def next(self, challenge: bytes) -> bytes:
        """Store the error challenge, and return its acknowledgement.

        Raises:
            MechanismError: it is the second challenge.
        """
        if self.error_challenge is not None:
            raise MechanismError("a second challenge after the reasons of a refusal")
        self.error_challenge = parse_error_challenge(challenge)
        return self._acknowledgement


class XOAuth2(_Bearer):
    """XOAUTH2."""

    name = "XOAUTH2"
    strength = 1
    _acknowledgement = b""

    def start(self) -> bytes:
        """Return ``user=…\\x01auth=Bearer …\\x01\\x01``."""
        return f"user={self.context.user}\x01auth=Bearer {self.context.secret.reveal()}\x01\x01".encode()


class OAuthBearer(_Bearer):
    """OAUTHBEARER, the standard mechanism; host and port are as the client configured them (RFC 7628 section 3.1)."""

    name = "OAUTHBEARER"
    strength = 2
    _acknowledgement = b"\x01"

    def start(self) -> bytes:
        """Return the GS2 header with the user (RFC 5801 section 4) and the key/value pairs."""
        context = self.context
        user = context.user.replace("=", "=3D").replace(",", "=2C")
        server = f"host={context.host}\x01port={context.port}"
        return f"n,a={user},\x01{server}\x01auth=Bearer {context.secret.reveal()}\x01\x01".encode()


def parse_error_challenge(challenge: bytes) -> dict[str, str]:
    """Return the members of an error challenge (RFC 7628 section 3.2.2) as text; empty if it is not a JSON object."""
    if len(challenge) > MAX_ERROR_CHALLENGE:
        return {}
    try:
        parsed: object = json.loads(challenge)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(parsed, dict):
        return {}
    return {_text(key): _text(value) for key, value in cast("dict[object, object]", parsed).items()}


def _text(value: object) -> str:
    # JSON may contain lone surrogates, which cannot be printed.
    return str(value).encode("utf-8", "backslashreplace").decode()

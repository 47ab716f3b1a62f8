"""XOAUTH2 and OAUTHBEARER: a bearer token, and the server's reasons where it refuses one.

XOAUTH2 after Google's "OAuth 2.0 Mechanism" and Microsoft's "Authenticate an IMAP, POP or SMTP connection using
OAuth"; OAUTHBEARER after RFC 7628. In both a challenge that follows the token is a refusal's reasons as JSON; it
has to be answered (XOAUTH2: empty, OAUTHBEARER: one \\x01) before the server says no in so many words.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from mailslot.sasl.mechanism import MechanismError

if TYPE_CHECKING:
    from mailslot.sasl.credentials import AccessToken
    from mailslot.wire.secret import Secret

MAX_REASONS: Final = 8_192
"""Octets of a challenge that are looked into; more are not reasons but an attack."""


class _Bearer:
    """What both mechanisms share.

    Attributes:
        presented: whether the token was given out to be sent.
        reasons: the refusal's JSON, its values as text, or an empty mapping where the challenge was no JSON
            object; None while there was no challenge.
    """

    name: str
    _acknowledgement: bytes

    def __init__(self, token: AccessToken) -> None:
        self._token = token
        self.presented = False
        self.reasons: dict[str, str] | None = None

    @property
    def secret(self) -> Secret:
        """The token."""
        return self._token.value

    @property
    def initial(self) -> bytes:
        """What holds the token."""
        raise NotImplementedError

    def start(self) -> bytes:
        """Return what holds the token, to be sent."""
        self.presented = True
        return self.initial

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
    _acknowledgement = b""

    def __init__(self, user: str, token: AccessToken) -> None:
        super().__init__(token)
        self._user = user

    @property
    def initial(self) -> bytes:
        """``user=…\\x01auth=Bearer …\\x01\\x01``."""
        return f"user={self._user}\x01auth=Bearer {self._token.value.reveal()}\x01\x01".encode()


class OAuthBearer(_Bearer):
    """OAUTHBEARER; host and port are those that the client wanted to reach (RFC 7628 section 3.1)."""

    name = "OAUTHBEARER"
    _acknowledgement = b"\x01"

    def __init__(self, user: str, token: AccessToken, host: str, port: int) -> None:
        super().__init__(token)
        self._user, self._host, self._port = user, host, port

    @property
    def initial(self) -> bytes:
        """The GS2 header with the user (RFC 5801 section 4) and the key/value pairs."""
        user = self._user.replace("=", "=3D").replace(",", "=2C")
        return (
            f"n,a={user},\x01host={self._host}\x01port={self._port}\x01auth=Bearer {self._token.value.reveal()}\x01\x01"
        ).encode()


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

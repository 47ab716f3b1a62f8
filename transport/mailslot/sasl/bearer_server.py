"""The server's side of XOAUTH2 and OAUTHBEARER, without I/O; see `mailslot.sasl.bearer` for the sources."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from mailslot.sasl.mechanism import MechanismError
from mailslot.sasl.server import ServerMechanism, SuppliedSecret
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

_XOAUTH2: Final = re.compile(r"user=([^\x00-\x1f\x7f]+)\x01auth=Bearer ([!-~]+)\x01\x01", re.IGNORECASE)
_OAUTHBEARER: Final = re.compile(r"n,a=((?:[^\x00-\x1f\x7f,=]|=2C|=3D)+),\x01((?:[A-Za-z]+=[^\x00\x01]*\x01)+)\x01")
_BEARER: Final = re.compile(r"Bearer ([!-~]+)", re.IGNORECASE)


class _BearerServer(ServerMechanism):
    """The base of both mechanisms."""

    def __init__(self, reasons: Mapping[str, str] | None = None) -> None:
        """Create a mechanism.

        Args:
            reasons: the members of the challenge that refuses a token (RFC 7628 section 3.2.2); None to send none.
        """
        self._reasons = reasons

    def start(self, initial: bytes | None) -> bytes | SuppliedSecret:
        """Return the token, or an empty challenge if there was no initial response."""
        return b"" if initial is None else self.next(initial)

    def next(self, response: bytes) -> SuppliedSecret:
        """Return the token.

        Raises:
            MechanismError: the response is malformed.
        """
        try:
            return self._parse(response.decode())
        except UnicodeDecodeError:
            raise MechanismError("a response that is not UTF-8") from None

    def explain_refusal(self) -> bytes | None:
        """Return the error challenge as JSON."""
        return None if self._reasons is None else json.dumps(self._reasons, separators=(",", ":")).encode()

    @abstractmethod
    def _parse(self, response: str) -> SuppliedSecret:
        """Return the token, or raise `MechanismError`."""


class XOAuth2Server(_BearerServer):
    """XOAUTH2."""

    name = "XOAUTH2"

    def _parse(self, response: str) -> SuppliedSecret:
        match = _XOAUTH2.fullmatch(response)
        if match is None:
            raise MechanismError("not the two fields of XOAUTH2")
        return SuppliedSecret(match[1], Secret(match[2]))


class OAuthBearerServer(_BearerServer):
    """OAUTHBEARER.

    Attributes:
        fields: the key/value pairs that the client sent, without the token, such as its ``host`` and ``port``.
    """

    name = "OAUTHBEARER"

    def __init__(self, reasons: Mapping[str, str] | None = None) -> None:
        """Create a mechanism; see `XOAuth2Server`."""
        super().__init__(reasons)
        self.fields: Mapping[str, str] = {}

    def _parse(self, response: str) -> SuppliedSecret:
        match = _OAUTHBEARER.fullmatch(response)
        pairs = [] if match is None else [pair.partition("=") for pair in match[2].split("\x01") if pair]
        fields = {key: value for key, _, value in pairs}
        bearer = _BEARER.fullmatch(fields.pop("auth", ""))
        if match is None or bearer is None:
            raise MechanismError("not a bearer token behind a GS2 header")
        self.fields = fields
        return SuppliedSecret(match[1].replace("=2C", ",").replace("=3D", "="), Secret(bearer[1]))

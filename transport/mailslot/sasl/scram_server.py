"""The server's side of SCRAM-SHA-256 without channel binding, without I/O (RFC 5802, RFC 7677)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

from mailslot.sasl.mechanism import MechanismError
from mailslot.sasl.server import ServerMechanism, SuppliedSecret
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

_ITERATIONS: Final = 4_096
_CLIENT_FIRST: Final = re.compile(r"([ny],(?:a=[^,]*)?,)(n=([^,]+),r=([!-+\--~]+))")
_CLIENT_FINAL: Final = re.compile(r"(c=([^,]+),r=([^,]+)),p=([^,]+)")


class ScramSha256Server(ServerMechanism):
    """SCRAM-SHA-256."""

    name = "SCRAM-SHA-256"

    def __init__(self, password_of: Callable[[str], Secret | None]) -> None:
        """Create a mechanism.

        Args:
            password_of: returns a user's password, or None if there is no such user.
        """
        self._password_of = password_of
        self._step: Callable[[str], bytes | SuppliedSecret] = self._challenge
        self._header = self._client_first = self._server_first = self._nonce = self._user = ""
        self._password = Secret("")

    def start(self, initial: bytes | None) -> bytes | SuppliedSecret:
        """Return the first challenge; an empty one if there was no initial response."""
        return b"" if initial is None else self.next(initial)

    def next(self, response: bytes) -> bytes | SuppliedSecret:
        """Return the next challenge; at the end the user's password, or a wrong one if the client does not know it.

        Raises:
            MechanismError: the response is malformed.
        """
        try:
            return self._step(response.decode())
        except ValueError:
            raise MechanismError("a message that is not of SCRAM") from None

    def _challenge(self, message: str) -> bytes:
        match = _CLIENT_FIRST.fullmatch(message)
        if match is None:
            raise MechanismError("not the first message of SCRAM")
        self._header, self._client_first = match[1], match[2]
        self._user = match[3].replace("=2C", ",").replace("=3D", "=")
        # The challenge must not reveal whether the user exists (RFC 5802 section 9).
        self._password = self._password_of(self._user) or _wrong_password()
        self._nonce = match[4] + secrets.token_urlsafe(18)
        salt = base64.b64encode(secrets.token_bytes(16)).decode()
        self._server_first = f"r={self._nonce},s={salt},i={_ITERATIONS}"
        self._step = self._verify
        return self._server_first.encode()

    def _verify(self, message: str) -> bytes | SuppliedSecret:
        match = _CLIENT_FINAL.fullmatch(message)
        if match is None or match[3] != self._nonce or _base64(match[2]) != self._header.encode():
            raise MechanismError("not the last message of SCRAM")
        salt = _base64(self._server_first.split(",s=")[1].partition(",")[0])
        salted = hashlib.pbkdf2_hmac("sha256", self._password.reveal().encode(), salt, _ITERATIONS)
        authenticated = f"{self._client_first},{self._server_first},{match[1]}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), authenticated, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        if not hmac.compare_digest(proof, _base64(match[4])):
            return SuppliedSecret(self._user, _wrong_password())
        verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), authenticated, "sha256")
        self._step = self._finish
        return b"v=" + base64.b64encode(verifier)

    def _finish(self, message: str) -> SuppliedSecret:
        if message:
            raise MechanismError("a third message in SCRAM")
        return SuppliedSecret(self._user, self._password)


def _wrong_password() -> Secret:
    return Secret(secrets.token_hex())


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)

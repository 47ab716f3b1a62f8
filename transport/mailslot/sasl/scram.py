"""SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677).

The password is never sent, and the server must prove that it knows it as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from typing import TYPE_CHECKING, ClassVar, Final

from mailslot.errors import InputError
from mailslot.sasl.mechanism import Mechanism, MechanismError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.sasl.mechanism import AuthenticationContext, CredentialKind

MIN_ITERATIONS: Final = 4_096
"""With fewer, the password can be guessed from a recorded exchange (RFC 7677 section 4)."""

MAX_ITERATIONS: Final = 600_000
"""With more, a server could keep the device busy; this many take about a third of a second."""

_GS2: Final = b"n,,"


class ScramSha256(Mechanism):
    """SCRAM-SHA-256.

    Attributes:
        verifier: what the server must send at the end; empty before it is known. It is a secret, since passwords could
            be guessed from it.

    Raises:
        InputError: the user or the password cannot be prepared (RFC 4013).
    """

    name = "SCRAM-SHA-256"
    credential_kind: ClassVar[CredentialKind] = "password"
    strength = 3
    is_slow = True

    def __init__(self, context: AuthenticationContext, *, nonce: str | None = None) -> None:
        super().__init__(context)
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(24)).decode()
        user = saslprep(context.user).replace("=", "=3D").replace(",", "=2C")
        self._password = saslprep(context.secret.reveal()).encode()
        self._client_first_bare = f"n={user},r={self._nonce}".encode()
        self.verifier = Secret("")
        self._steps: list[Callable[[bytes], bytes]] = [self._client_final, self._verify_server]
        self._finished = False

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The password, and the verifier."""
        return (*super().secrets, self.verifier)

    @property
    def is_complete(self) -> bool:
        """Whether the server has proved that it knows the password."""
        return self._finished

    def start(self) -> bytes:
        """Return the client-first message (RFC 5802 section 7)."""
        return _GS2 + self._client_first_bare

    def next(self, challenge: bytes) -> bytes:
        """Return the client-final message; at the second call, check the server's signature and return ``b""``.

        If the server sends an error instead, the response is empty too and the exchange stays incomplete.

        Raises:
            MechanismError: the server's message is malformed, weak, or does not prove that it knows the password.
        """
        if not self._steps:
            raise MechanismError("a third challenge in SCRAM")
        return self._steps.pop(0)(challenge)

    def _client_final(self, challenge: bytes) -> bytes:
        fields = _fields(challenge)
        nonce, salt64, count = fields.get("r", ""), fields.get("s", ""), fields.get("i", "")
        if "m" in fields:
            raise MechanismError("an extension that must be understood")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise MechanismError("the server's nonce does not go on from ours")
        if not (count.isascii() and count.isdigit() and len(count) <= 7):
            raise MechanismError("an iteration count that is not a number")
        iterations = int(count)
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise MechanismError(f"{iterations} iterations, not {MIN_ITERATIONS} to {MAX_ITERATIONS}")
        salt = _base64(salt64)
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        client_key = _hmac(salted, b"Client Key")
        final = b"c=" + base64.b64encode(_GS2) + b",r=" + nonce.encode()
        message = self._client_first_bare + b"," + challenge + b"," + final
        signature = _hmac(hashlib.sha256(client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.verifier = Secret(base64.b64encode(_hmac(_hmac(salted, b"Server Key"), message)).decode())
        return final + b",p=" + base64.b64encode(proof)

    def _verify_server(self, challenge: bytes) -> bytes:
        fields = _fields(challenge)
        if "e" in fields:
            # The server refuses with a reason; its final reply follows in the protocol itself (RFC 5802 section 7).
            return b""
        if not self.verifier or self.verifier != fields.get("v"):
            raise MechanismError("the server did not prove that it knows the password")
        self._finished = True
        return b""


def saslprep(text: str) -> str:
    """Normalize a user name or password by SASLprep (RFC 4013).

    Raises:
        InputError: it contains a character that is not allowed.
    """
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if not prepared or any(refuses(c) for c in prepared for refuses in prohibited):
        raise InputError("The user name or password holds a character that is not allowed.", stage="sign_in")
    if any(map(stringprep.in_table_d1, prepared)) and (
        any(map(stringprep.in_table_d2, prepared))
        or not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1]))
    ):
        raise InputError("The user name or password mixes directions of writing.", stage="sign_in")
    return prepared


def _fields(message: bytes) -> dict[str, str]:
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        raise MechanismError("a message that is not UTF-8") from None
    fields = [part.partition("=") for part in text.split(",")]
    if any(len(key) != 1 or not equals for key, equals, _ in fields):
        raise MechanismError("a message that is not of SCRAM")
    return {key: value for key, _, value in fields}


def _base64(text: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if not octets:
        raise MechanismError("a field that is not base64")
    return octets


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")

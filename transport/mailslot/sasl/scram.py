"""SCRAM-SHA-256: the password is proved and never sent, and the server has to prove that it knows it too.

After RFC 5802 and RFC 7677, without channel binding.
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

    from mailslot.sasl.mechanism import CredentialKind, Identity

MIN_ITERATIONS: Final = 4_096
"""Fewer make the password guessable from the dialogue (RFC 7677 section 4)."""

MAX_ITERATIONS: Final = 600_000
"""More would let a server keep the device busy; this many take about a third of a second."""

_GS2: Final = b"n,,"


class ScramSha256(Mechanism):
    """SCRAM-SHA-256.

    Attributes:
        verifier: what the server has to send in the end, empty before it is known; passwords could be tried on it.

    Raises:
        InputError: the user or the password cannot be prepared (RFC 4013).
    """

    name = "SCRAM-SHA-256"
    kind: ClassVar[CredentialKind] = "password"
    strength = 3
    is_slow = True

    def __init__(self, identity: Identity, *, nonce: str | None = None) -> None:
        super().__init__(identity)
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(24)).decode()
        user = saslprep(identity.user).replace("=", "=3D").replace(",", "=2C")
        self._password = saslprep(identity.secret.reveal()).encode()
        self._first = f"n={user},r={self._nonce}".encode()
        self.verifier = Secret("")
        self._steps: list[Callable[[bytes], bytes]] = [self._prove, self._verify]
        self._finished = False

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The password, and the verifier."""
        return (*super().secrets, self.verifier)

    @property
    def finished(self) -> bool:
        """Whether the server proved that it knows the password."""
        return self._finished

    def start(self) -> bytes:
        """Return the client-first message (RFC 5802 section 7)."""
        return _GS2 + self._first

    def next(self, challenge: bytes) -> bytes:
        """Return the client-final message, then check the server's signature and return an empty response.

        Where the server gives an error instead, the response is empty too and the sign-in stays unfinished.

        Raises:
            MechanismError: the server's message is malformed, weak or does not prove that it knows the password.
        """
        if not self._steps:
            raise MechanismError("a third challenge in SCRAM")
        return self._steps.pop(0)(challenge)

    def _prove(self, challenge: bytes) -> bytes:
        fields = _fields(challenge)
        nonce, salt64, count = fields.get("r", ""), fields.get("s", ""), fields.get("i", "")
        if "m" in fields:
            raise MechanismError("an extension that must be understood")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise MechanismError("the server's nonce does not go on from ours")
        if not (count.isascii() and count.isdigit() and len(count) <= 7):
            raise MechanismError("an iteration count that is no number")
        iterations = int(count)
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise MechanismError(f"{iterations} iterations, not {MIN_ITERATIONS} to {MAX_ITERATIONS}")
        salt = _base64(salt64)
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        client_key = _hmac(salted, b"Client Key")
        final = b"c=" + base64.b64encode(_GS2) + b",r=" + nonce.encode()
        message = self._first + b"," + challenge + b"," + final
        signature = _hmac(hashlib.sha256(client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.verifier = Secret(base64.b64encode(_hmac(_hmac(salted, b"Server Key"), message)).decode())
        return final + b",p=" + base64.b64encode(proof)

    def _verify(self, challenge: bytes) -> bytes:
        fields = _fields(challenge)
        if "e" in fields:
            # The server refuses and says why here; it still has to say so in its own protocol (RFC 5802 section 7).
            return b""
        if not self.verifier or self.verifier != fields.get("v"):
            raise MechanismError("the server did not prove that it knows the password")
        self._finished = True
        return b""


def saslprep(text: str) -> str:
    """Prepare a user name or password so that all its spellings are one (RFC 4013).

    Raises:
        InputError: it holds a character that is not allowed.
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

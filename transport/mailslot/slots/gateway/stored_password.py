"""A device's password as it is kept in the vault, and how one is compared with it.

Three kinds are kept, each as a JSON document in the field `FIELD` of the record ``device.NAME``, encrypted there:

- one that mailslot made, of 128 random bits: as a keyed BLAKE2b digest (RFC 7693), which takes microseconds. Nobody can
  try 2^128 passwords, so nothing slower protects it better;
- one that a person chose: as an Argon2id hash (RFC 9106), which takes some tens of milliseconds;
- one that must stay recoverable, for APOP (RFC 1939 section 7): as it is.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from base64 import b32encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from mailslot.errors import InputError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from argon2 import PasswordHasher

FIELD: Final = "password"
MAX_LENGTH: Final = 256
"""Characters of a password; longer ones are refused before anything is computed."""

_RANDOM_OCTETS: Final = 16

# The least that OWASP's Password Storage Cheat Sheet names for Argon2id: 19 MiB, which a small machine has.
_KIBIBYTES: Final = 19 * 1024
_PASSES: Final = 2

Kind = Literal["made", "chosen", "recoverable"]


@dataclass(frozen=True, slots=True, repr=False)
class StoredPassword:
    """What is kept of a password.

    Attributes:
        kind: how it is kept.
        value: the digest, the hash, or the password itself.
        salt: the key of the digest, in hexadecimal; empty for the other kinds.
    """

    kind: Kind
    value: str
    salt: str = ""

    @property
    def is_slow(self) -> bool:
        """Whether a comparison takes long."""
        return self.kind == "chosen"

    def verify(self, password: Secret) -> bool:
        """Whether this is the password. It blocks where `is_slow`, and takes as long for a wrong one."""
        text = password.reveal()
        if len(text) > MAX_LENGTH:
            return False
        if self.kind == "made":
            return hmac.compare_digest(_digest(text, bytes.fromhex(self.salt)), self.value)
        if self.kind == "recoverable":
            return hmac.compare_digest(_octets(self.value), _octets(text))
        return _verify_slowly(self.value, text)

    def to_secret(self) -> Secret:
        """Return it as the vault keeps it."""
        return Secret(json.dumps({"kind": self.kind, "value": self.value, "salt": self.salt}))

    @classmethod
    def from_secret(cls, secret: Secret) -> StoredPassword:
        """Return what the vault has kept.

        Raises:
            ValueError: another version of mailslot has written it.
        """
        try:
            document = cast("dict[str, str]", json.loads(secret.reveal()))
            found = cls(cast("Kind", document["kind"]), document["value"], document["salt"])
            _ = bytes.fromhex(found.salt)
        except (KeyError, TypeError, ValueError):
            raise ValueError("it is no password of a device") from None
        if found.kind not in {"made", "chosen", "recoverable"} or not isinstance(found.value, str):
            raise ValueError("it is no password of a device")
        return found


def make_password() -> Secret:
    """Return a new password: 128 random bits in lower-case letters and digits that are not mistaken for each other."""
    return Secret(b32encode(os.urandom(_RANDOM_OCTETS)).decode().rstrip("=").lower())


def keep_made(password: Secret) -> StoredPassword:
    """Return what is kept of a password from `make_password`."""
    salt = os.urandom(32)
    return StoredPassword("made", _digest(password.reveal(), salt), salt.hex())


def keep_chosen(password: Secret) -> StoredPassword:
    """Return what is kept of a password that a person chose. It blocks for some tens of milliseconds.

    Raises:
        InputError: it cannot be a password, or a package is missing.
    """
    check_password(password)
    return StoredPassword("chosen", _hasher().hash(password.reveal()))


def keep_recoverable(password: Secret) -> StoredPassword:
    """Return what is kept of a password that must stay recoverable.

    Raises:
        InputError: it cannot be a password.
    """
    check_password(password)
    return StoredPassword("recoverable", password.reveal())


def check_password(password: Secret) -> None:
    """Refuse what no device could sign in with.

    Raises:
        InputError: it is empty, too long, or has a line break or another control character.
    """
    text = password.reveal()
    if not 1 <= len(text) <= MAX_LENGTH or not text.isprintable():
        raise InputError(
            f"A device's password has 1 to {MAX_LENGTH} characters, none of which is a line break or another control "
            "character.",
            stage="resolve",
            key="password",
        )


def waste_time(password: Secret) -> None:
    """Take as long as a slow comparison that fails, so that the time does not tell whether there is such a user."""
    _verify_slowly(_DUMMY, password.reveal()[:MAX_LENGTH])


# Of a random password that nobody knows; with the parameters of `_hasher`.
_DUMMY: Final = (
    f"$argon2id$v=19$m={_KIBIBYTES},t={_PASSES},p=1$bWFpbHNsb3QtZHVtbXktMQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)


def _digest(text: str, salt: bytes) -> str:
    return hashlib.blake2b(_octets(text), key=salt, digest_size=32).hexdigest()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # noqa: PLC0415 - only a password that a person chose needs it

    return PasswordHasher(time_cost=_PASSES, memory_cost=_KIBIBYTES, parallelism=1)


def _verify_slowly(hashed: str, text: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - as above

    try:
        return _hasher().verify(hashed, _octets(text))
    except (VerificationError, InvalidHashError):
        return False

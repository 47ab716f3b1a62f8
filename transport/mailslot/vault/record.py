"""The file of one record: for each field a key's id, a nonce and a ciphertext, as JSON.

::

    {"version": 1, "fields": {"grant": {"key": "9f86d081884c7d65", "nonce": "…", "ciphertext": "…"}}}

``nonce`` and ``ciphertext`` are base64 (RFC 4648 section 4). Each value is encrypted by AES-256-GCM (NIST SP 800-38D)
with a random nonce of 96 bits; the tag of 128 bits ends the ciphertext. Its associated data is the JSON array
``["mailslot vault", VERSION, RECORD, FIELD]`` without blanks, so that it opens in its own place and nowhere else.
Names of records and fields, and roughly the lengths of their values, are no secrets.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.vault.keys import Key

VERSION: Final = 1

_NONCE_OCTETS: Final = 12


@dataclass(frozen=True, slots=True)
class Sealed:
    """One field's value, encrypted.

    Attributes:
        key: the id of the key that opens it.
        nonce: 12 octets, never used twice with a key.
        ciphertext: the value's octets, encrypted, and the tag.
    """

    key: str
    nonce: bytes
    ciphertext: bytes


def seal(value: Secret, key: Key, record: str, field: str) -> Sealed:
    """Encrypt a value for one field of one record."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an empty vault needs none of it

    nonce = os.urandom(_NONCE_OCTETS)
    octets = value.reveal().encode("utf-8", "surrogatepass")
    return Sealed(key.id, nonce, AESGCM(key.octets).encrypt(nonce, octets, _place(record, field)))


def unseal(sealed: Sealed, key: Key, record: str, field: str) -> Secret:
    """Decrypt what was sealed with `key` for this field of this record.

    Raises:
        ValueError: it was not, or it is damaged.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    try:
        octets = AESGCM(key.octets).decrypt(sealed.nonce, sealed.ciphertext, _place(record, field))
    except InvalidTag:
        raise ValueError(f"the field {field} does not open with the key {key.id}") from None
    return Secret(octets.decode("utf-8", "surrogatepass"))


def dump(fields: Mapping[str, Sealed]) -> bytes:
    """Return what the file of a record with these fields holds."""
    return json.dumps(
        {
            "version": VERSION,
            "fields": {
                field: {
                    "key": sealed.key,
                    "nonce": b64encode(sealed.nonce).decode(),
                    "ciphertext": b64encode(sealed.ciphertext).decode(),
                }
                for field, sealed in sorted(fields.items())
            },
        },
        indent=1,
    ).encode()


def parse(octets: bytes) -> dict[str, Sealed]:
    """Return the fields in the file of a record.

    Raises:
        ValueError: it is damaged, or of another version.
    """
    try:
        document: Any = json.loads(octets)
        if document["version"] != VERSION:
            raise ValueError(f"its version is not {VERSION}")
        return {field: _sealed(values) for field, values in document["fields"].items()}
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is not built as a record is: {type(error).__name__}") from None


def _sealed(values: Any) -> Sealed:  # noqa: ANN401 - whatever the file holds
    sealed = Sealed(
        values["key"], b64decode(values["nonce"], validate=True), b64decode(values["ciphertext"], validate=True)
    )
    if not isinstance(values["key"], str) or len(sealed.nonce) != _NONCE_OCTETS:
        raise TypeError
    return sealed


def _place(record: str, field: str) -> bytes:
    return json.dumps(["mailslot vault", VERSION, record, field], separators=(",", ":")).encode()

"""The file of a record: a JSON document with a key id, a nonce and a ciphertext for each field.

::

    {"version": 1, "fields": {"grant": {"key": "9f86d081884c7d65", "nonce": "…", "ciphertext": "…"}}}

``nonce`` and ``ciphertext`` are base64 (RFC 4648 section 4). Each value is encrypted by AES-256-GCM (NIST SP 800-38D)
with a random nonce of 96 bits; the tag of 128 bits ends the ciphertext. Its associated data is the JSON array
``["mailslot vault", VERSION, RECORD, FIELD]`` without blanks, so that a value cannot be moved to another field or
record; where several devices share a key, the names of tenant and device follow. The names of records and fields, and
the approximate lengths of values, are not secret.
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
class SealedValue:
    """One field's value, encrypted.

    Attributes:
        key: the id of its key.
        nonce: 12 octets, never used twice with a key.
        ciphertext: the value's octets, encrypted, and the tag.
    """

    key: str
    nonce: bytes
    ciphertext: bytes


def seal(value: Secret, key: Key, record: str, field: str, scope: tuple[str, ...] = ()) -> SealedValue:
    """Encrypt a value for one field of one record; `scope` is bound to it, too."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an empty vault needs none of it

    nonce = os.urandom(_NONCE_OCTETS)
    octets = value.reveal().encode("utf-8", "surrogatepass")
    return SealedValue(key.id, nonce, AESGCM(key.octets).encrypt(nonce, octets, _associated_data(record, field, scope)))


def unseal(sealed: SealedValue, key: Key, record: str, field: str, scope: tuple[str, ...] = ()) -> Secret:
    """Decrypt a value of this field of this record.

    Raises:
        ValueError: it was encrypted with another key or for another place, or is damaged.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    try:
        octets = AESGCM(key.octets).decrypt(sealed.nonce, sealed.ciphertext, _associated_data(record, field, scope))
    except InvalidTag:
        raise ValueError(f"the field {field} does not open with the key {key.id}") from None
    return Secret(octets.decode("utf-8", "surrogatepass"))


def dump(fields: Mapping[str, SealedValue]) -> bytes:
    """Return the contents of the file of a record with these fields."""
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


def parse(octets: bytes) -> dict[str, SealedValue]:
    """Parse the contents of a record's file.

    Raises:
        ValueError: they are damaged, or of another version.
    """
    try:
        document: Any = json.loads(octets)
        if document["version"] != VERSION:
            raise ValueError(f"its version is not {VERSION}")
        return {field: _parse_value(values) for field, values in document["fields"].items()}
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is not built as a record is: {type(error).__name__}") from None


def _parse_value(values: Any) -> SealedValue:  # noqa: ANN401 - whatever the file holds
    sealed = SealedValue(
        values["key"], b64decode(values["nonce"], validate=True), b64decode(values["ciphertext"], validate=True)
    )
    if not isinstance(values["key"], str) or len(sealed.nonce) != _NONCE_OCTETS:
        raise TypeError
    return sealed


def _associated_data(record: str, field: str, scope: tuple[str, ...]) -> bytes:
    return json.dumps(["mailslot vault", VERSION, record, field, *scope], separators=(",", ":")).encode()

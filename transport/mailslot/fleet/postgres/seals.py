"""Seals of the documents with secrets: each binds the octets to tenant, device, name and generation.

Each secret in such a document is encrypted for its record and field (`mailslot.vault.record`). The seal shows that the
document as a whole is the last one written: a document that was copied from another device or record, restored from an
older copy, or composed of several is refused. The generation increases with each change of a device and never repeats.
It is in its own table, so that an old row of the table of documents does not contain its seal. Restoring the rows of
all tables together is not detected, since that is how a backup is restored.

A seal is an HMAC-SHA-256 (RFC 2104) under a key that is derived from the tenant's data key.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any, Final

from mailslot.vault.errors import unreadable_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.fleet.postgres.keys import TenantKeys
    from mailslot.fleet.postgres.rows import DeviceRows
    from mailslot.vault.errors import VaultError
    from mailslot.vault.keys import Key

SEALED_FOLDER: Final = "vault/"
"""The prefix of the names of sealed documents."""

WITH_SEALS: Final = (
    "SELECT documents.name, octets, documents.version, generation, key, seal FROM documents "
    "LEFT JOIN seals ON seals.device = documents.device AND seals.name = documents.name "
    "WHERE documents.device = %(device)s"
)
"""The query for documents with their seals."""

READ_SEALED: Final = f"{WITH_SEALS} AND documents.name = %(name)s"

_WRITE: Final = (
    "INSERT INTO seals (tenant, device, name, generation, key, seal) VALUES (%(tenant)s, %(device)s, %(name)s, "
    "%(generation)s, %(key)s, %(seal)s) ON CONFLICT (device, name) DO UPDATE SET generation = excluded.generation, "
    "key = excluded.key, seal = excluded.seal"
)


class Seals:
    """The seals of a device.

    Args:
        device: the device.
        keys: the keys of its tenant.
    """

    def __init__(self, device: DeviceId, keys: TenantKeys) -> None:
        self._device = device
        self._keys = keys

    def write(self, rows: DeviceRows, name: str, octets: bytes | None, generation: int) -> None:
        """Seal a document that is written in the same transaction.

        A removed document has no seal, and a restored one is refused because of its generation.

        Raises:
            VaultError: the key cannot be used.
        """
        if octets is None:
            rows.execute(_WRITE, name=name, generation=generation, key=None, seal=None)
            return
        key = self._keys.newest()
        rows.execute(
            _WRITE, name=name, generation=generation, key=key.id, seal=self._seal(key, name, octets, generation)
        )

    def check(self, name: str, row: Mapping[str, Any]) -> None:
        """Check a row of `READ_SEALED`.

        Raises:
            VaultError: its document is not the last one written; or the key cannot be used.
        """
        if row["generation"] is not None and row["version"] < row["generation"]:
            raise self._error(name, "are an older copy that somebody has put back", f"version {row['version']}")
        if row["seal"] is None:
            raise self._error(name, "were put there by another program", "there is no seal")
        if (key := self._keys.find(row["key"])) is None:
            self._keys.newest()  # It has a sentence of its own if there is no key at all.
            raise self._error(name, "need a key that is not here", f"the seal needs the key {row['key']!a}")
        seal = self._seal(key, name, row["octets"], row["version"])
        if row["version"] != row["generation"] or not hmac.compare_digest(seal, row["seal"]):
            raise self._error(name, "were changed by another program, or copied from another place", "wrong seal")

    def _seal(self, key: Key, name: str, octets: bytes, generation: int) -> bytes:
        place = ["mailslot seal", 1, self._device.tenant_name, self._device.name, name, generation]
        # JSON contains no NUL, so the parts cannot be shifted.
        message = json.dumps(place, separators=(",", ":")).encode() + b"\0" + octets
        return hmac.digest(hmac.digest(key.octets, b"mailslot seal key", "sha256"), message, "sha256")

    def _error(self, name: str, reason: str, detail: str) -> VaultError:
        record = name.removeprefix(SEALED_FOLDER).removesuffix(".json")
        return unreadable_error(
            f"The secrets of {record} in {self._device} {reason}: delete the token and obtain it again.", detail
        )

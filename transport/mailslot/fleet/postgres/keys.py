"""The data keys of a tenant in PostgreSQL, wrapped by the master key."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.fleet.postgres.errors import DatabaseError
from mailslot.vault.errors import unreadable_error, unwritable_error
from mailslot.vault.keys import Key

if TYPE_CHECKING:
    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.fleet.postgres.documents import PostgresDocuments

_OCTETS: Final = 32
_KEPT: Final = 300.0
"""Seconds for which an unwrapped key is kept in memory; a deleted key is gone after that at the latest."""


def new_data_key(master: MasterKey, tenant: str) -> tuple[str, str, bytes]:
    """Return a new data key of a tenant: its id, the name of the master key, and the key, wrapped."""
    key = Key(os.urandom(_OCTETS))
    name = master.name
    return key.id, name, master.wrap(key.octets, _context(tenant))


class TenantKeys:
    """The data keys of the tenant of a device; see `mailslot.vault.keys.Keys`.

    Args:
        documents: the documents of the device; keys are read in their transaction if there is one.
        device: the device.
        master: the master key.

    Attributes:
        scope: the names of tenant and device, which are bound to each value.
    """

    def __init__(self, documents: PostgresDocuments, device: DeviceId, master: MasterKey) -> None:
        self.scope: Final = (device.tenant_name, device.name)
        self.is_provided: Final = True
        self._documents = documents
        self._device = device
        self._master = master
        self._mutex = threading.Lock()
        self._kept: tuple[float, list[Key]] | None = None

    def check(self) -> None:
        """Check that all keys can be used."""
        self._all()

    def newest(self) -> Key:
        """Return the key to encrypt with."""
        keys = self._all()
        if not keys:
            raise unreadable_error(
                f"The key of the tenant {self._device.tenant_name} was deleted, and with it its secrets.",
                "there is no data key",
            )
        return keys[0]

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id; None if there is none."""
        return next((key for key in self._all() if key.id == key_id), None)

    def add_new_key(self) -> None:
        """Refuse: a tenant's key is for all its devices."""
        raise unwritable_error("The key belongs to the tenant, not to this device alone.")

    def drop_old_keys(self) -> None:
        """Do nothing: other devices of the tenant may need them."""

    def _all(self) -> list[Key]:
        with self._mutex:
            if self._kept is None or time.monotonic() - self._kept[0] > _KEPT:
                self._kept = time.monotonic(), self._load()
            return self._kept[1]

    def _load(self) -> list[Key]:
        query = "SELECT id, master, wrapped FROM data_keys WHERE tenant = %(tenant)s ORDER BY added_at DESC, id"
        try:
            # Another connection might not be free before this thread's transaction has ended.
            found = self._documents.ask(lambda rows: rows.all(query))
            context = _context(self._device.tenant_name)
            return [Key(self._master.unwrap(row["wrapped"], row["master"], context)) for row in found]
        except DatabaseError as error:
            raise unreadable_error(
                f"The key of the tenant {self._device.tenant_name} cannot be read: {error.strerror}.",
                str(error.filename),
            ) from error
        except InputError as error:
            raise unreadable_error(str(error), error.detail) from error


def _context(tenant: str) -> str:
    return f"mailslot tenant {tenant}"

"""The data keys of a tenant in PostgreSQL, wrapped by the master key."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import MailError
from mailslot.fleet.master_key import KEPT_UNWRAPPED, WrappedKey
from mailslot.fleet.postgres.errors import DatabaseError
from mailslot.vault.errors import VaultError, read_error, unreadable_error, unwritable_error
from mailslot.vault.keys import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.fleet.postgres.rows import DeviceRows

    Ask = Callable[[Callable[[DeviceRows], Any]], Any]

_OCTETS: Final = 32
NEWEST_FIRST: Final = "ORDER BY added_at DESC, id"
"""The order of a tenant's keys."""


def new_data_key(master: MasterKey, tenant: str) -> tuple[str, WrappedKey]:
    """Return a new data key of a tenant: its id, and the key, wrapped."""
    key = Key(os.urandom(_OCTETS))
    return key.id, master.wrap(key.octets, key_context(tenant))


def key_context(tenant: str) -> str:
    """Return the context that binds a wrapped key to its tenant."""
    return f"mailslot tenant {tenant}"


class TenantKeys:
    """The data keys of the tenant of a device; see `mailslot.vault.keys.Keys`.

    Args:
        ask: runs a query, in the transaction of this thread if there is one, since it could wait in vain for a second
            connection.
        device: the device.
        master: the master key.

    Attributes:
        scope: the names of tenant and device, to which each value is bound.
    """

    def __init__(self, ask: Ask, device: DeviceId, master: MasterKey) -> None:
        self.scope: Final = (device.tenant_name, device.name)
        self.is_provided: Final = True
        self._ask = ask
        self._device = device
        self._master = master
        self._mutex = threading.Lock()
        self._kept: tuple[float, list[Key]] | None = None

    def check(self) -> None:
        """Check that all keys can be used."""
        self._all()

    def newest(self) -> Key:
        """Return the key to encrypt with.

        It is read from the database in the transaction of the change. Since a device's transactions are serialized, no
        secret is encrypted with an old key after the device's secrets were re-encrypted.
        """
        found = self._rows(f"SELECT id FROM data_keys WHERE tenant = %(tenant)s {NEWEST_FIRST} LIMIT 1")
        if not found:
            raise unreadable_error(
                f"The key of the tenant {self._device.tenant_name} was deleted, and with it its secrets.",
                "there is no data key",
            )
        key = self.find(found[0][0])
        if key is None:
            raise unreadable_error(f"The key of the tenant {self._device.tenant_name} is damaged.", "its id is another")
        return key

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id; None if there is none."""
        for keys in (self._all, self._load):
            if (key := next((key for key in keys() if key.id == key_id), None)) is not None:
                return key
        return None

    def add_new_key(self) -> None:
        """Refuse, since a tenant's key is shared by all its devices."""
        raise unwritable_error(
            "The key belongs to the tenant, not to this device alone: run mailslot fleet rotate-key "
            f"{self._device.tenant_name}."
        )

    def drop_old_keys(self) -> None:
        """Do nothing, since other devices of the tenant may need them."""

    def _all(self) -> list[Key]:
        with self._mutex:
            kept = self._kept
        if kept is not None and time.monotonic() - kept[0] <= KEPT_UNWRAPPED:
            return kept[1]
        return self._load()

    def _load(self) -> list[Key]:
        # Without a lock: a thread in a transaction must not wait for a thread that waits for a connection.
        began = time.monotonic()
        found = self._rows(f"SELECT master, wrapped FROM data_keys WHERE tenant = %(tenant)s {NEWEST_FIRST}")
        context = key_context(self._device.tenant_name)
        try:
            keys = [Key(self._master.unwrap(WrappedKey(master, wrapped), context)) for master, wrapped in found]
        except MailError as error:
            passes = error.cause != "token_store_unreadable"
            cause = "token_store_unreachable" if passes else "token_store_unreadable"
            raise VaultError(str(error), cause=cause, retryable=passes, detail=error.detail) from error
        with self._mutex:
            if self._kept is None or self._kept[0] < began:
                self._kept = began, keys
        return keys

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        try:
            found: list[tuple[Any, ...]] = self._ask(lambda rows: rows.tuples(query))
        except DatabaseError as error:
            raise read_error(f"The key of the tenant {self._device.tenant_name}", error) from error
        return found

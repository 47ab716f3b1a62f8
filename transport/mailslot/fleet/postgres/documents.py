"""The documents of a device in PostgreSQL."""

from __future__ import annotations

import errno
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailslot.fleet.postgres.configuration import is_configuration, read_version
from mailslot.fleet.postgres.database import CommitInDoubtError, DeviceGoneError
from mailslot.fleet.postgres.descriptions import SETTINGS, write_description
from mailslot.fleet.postgres.errors import DatabaseError, as_os_error
from mailslot.fleet.postgres.keys import TenantKeys
from mailslot.fleet.postgres.leases import LeaseLostError
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.fleet.postgres.seals import READ_SEALED, SEALED_FOLDER, Seals
from mailslot.vault.errors import LostHomeError, VaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.postgres.configuration import Configuration, ConfigurationCache
    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase
    from mailslot.fleet.postgres.leases import HeldLeases

_WRITE: Final = (
    "INSERT INTO documents (tenant, device, name, octets, version) VALUES (%(tenant)s, %(device)s, %(name)s, "
    "%(octets)s, %(version)s) ON CONFLICT (device, name) DO UPDATE SET octets = excluded.octets, "
    "version = excluded.version, written_at = now()"
)


class PostgresDocuments:
    """The documents of a device; see `mailslot.vault.documents.Documents`.

    A change is a transaction, which is the outermost `exclusive` block of a thread. Documents with secrets are sealed
    (`mailslot.fleet.postgres.seals`).

    Args:
        database: the database.
        device: the device.
        leases: the leases of this process on the device.
        master: the master key.
        kept: the cache of settings and secrets; None to read them each time.

    Attributes:
        keys: the keys of the tenant.
    """

    def __init__(
        self,
        database: FleetDatabase,
        device: DeviceId,
        leases: HeldLeases,
        master: MasterKey,
        kept: ConfigurationCache | None = None,
    ) -> None:
        self.keys: Final = TenantKeys(self.ask, device, master)
        self._seals = Seals(device, self.keys)
        self._database = database
        self._device = device
        self._leases = leases
        self._kept = kept
        self._changing = threading.local()

    def path(self, name: str) -> Path:
        """Return the name of a document for sentences."""
        return Path(str(self._device), name)

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a document; None if there is none.

        Raises:
            VaultError: it has secrets, and is not the document that was written last; or the key cannot be used.
        """
        if name.startswith(SEALED_FOLDER):
            octets = self._read_sealed(name)
        else:
            row = self._row(name)
            octets = None if row is None else row["octets"]
        if octets is not None and len(octets) > limit:
            raise DatabaseError(errno.EFBIG, "it is larger than allowed")
        return octets

    def _read_sealed(self, name: str) -> bytes | None:
        row = self._row(name)
        while row is not None:
            try:
                self._seals.check(name, row)
            except VaultError:
                # It may have been re-encrypted since it was read, and its old key deleted.
                self._doubt()
                before, row = row, self._row(name)
                if row == before:
                    raise
            else:
                octets: bytes = row["octets"]
                return octets
        return None

    def names(self, folder: str) -> list[str]:
        """Return the names of the documents directly in a folder, without the folder."""
        return [name[len(folder) + 1 :] for name in self.all_names() if name.rpartition("/")[0] == folder]

    def all_names(self) -> list[str]:
        """Return the names of all documents."""
        query = "SELECT name FROM documents WHERE device = %(device)s ORDER BY name"
        return [name for (name,) in self.ask(lambda rows: rows.tuples(query))]

    def version(self, name: str) -> object:
        """Return the version of a document; None if there is none."""
        if (kept := self._configuration(name)) is not None:
            row = kept.documents.get(name)
            return None if row is None else row["version"]
        query = "SELECT version FROM documents WHERE device = %(device)s AND name = %(name)s"
        return self.ask(lambda rows: rows.value(query, name=name))

    def state(self, name: str) -> object | None:
        """Return the version of a document, 0 if there is none."""
        return self.version(name) or 0

    def modified_at(self, name: str) -> float:
        """Return when a document was last written, by the database's clock; 0.0 if there is none."""
        query = (
            "SELECT extract(epoch FROM written_at)::double precision FROM documents "
            "WHERE device = %(device)s AND name = %(name)s"
        )
        return float(self.ask(lambda rows: rows.value(query, name=name)) or 0.0)

    def configuration_version(self) -> object:
        """Return a value that changes whenever a setting or a secret does."""
        kept = self._configuration("mailslot.toml")
        return self.ask(read_version) if kept is None else kept.version

    def may_wait(self) -> bool:
        """Return True: the database is asked."""
        return True

    def recover_if_needed(self) -> None:
        """Do nothing: a change is committed as a whole."""

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Begin a write transaction of the device, unless this thread is in one already.

        Raises:
            VaultError: `token_store_busy`, another change takes too long; `token_store_unwritable`, it could not be
                committed, or this process has lost a lease.
        """
        if self._rows is not None:
            yield
            return
        try:
            with as_os_error(), self._database.device_transaction(self._device) as connection:
                self._leases.check(connection)
                self._changing.rows = DeviceRows(connection, self._device)
                try:
                    yield
                finally:
                    self._changing.rows = None
        except DatabaseError as error:
            cause = "token_store_busy" if error.errno == errno.EBUSY else "token_store_unwritable"
            raise self._error(f"cannot be changed: {error.strerror}", cause, error) from error
        except LeaseLostError as error:
            reason = "were taken over by another process"
            raise self._error(reason, "token_store_busy", error, LostHomeError) from error
        except DeviceGoneError as error:
            reason = "are not in the fleet any more"
            raise self._error(reason, "token_store_unwritable", error, LostHomeError) from error
        except CommitInDoubtError as error:
            reason = "may have been changed or not: the database has not answered"
            raise self._error(reason, "token_store_unwritable", error) from error
        finally:
            self._doubt()

    @contextmanager
    def within(self, rows: DeviceRows) -> Generator[None]:
        """Read and change documents in a transaction of the caller while the block runs, in this thread."""
        self._changing.rows = rows
        try:
            yield
        finally:
            self._changing.rows = None

    def replace(self, contents: Mapping[str, bytes | None]) -> None:
        """Replace several documents atomically; None removes one."""
        with self.exclusive():
            rows = self._rows
            assert rows is not None  # noqa: S101 - the block above
            for name, octets in contents.items():
                version = rows.value(
                    "UPDATE device_state SET last_version = last_version + 1 WHERE device = %(device)s "
                    "RETURNING last_version AS version"
                )
                if octets is None:
                    rows.execute("DELETE FROM documents WHERE device = %(device)s AND name = %(name)s", name=name)
                else:
                    rows.execute(_WRITE, name=name, octets=octets, version=version)
                if name.startswith(SEALED_FOLDER):
                    self._seals.write(rows, name, octets, version)
                if name == SETTINGS:
                    write_description(rows, octets)

    def ask(self, ask: Callable[[DeviceRows], Any]) -> Any:  # noqa: ANN401 - what the question is for
        """Run a query in the transaction of this thread, or else in a read transaction.

        Raises:
            DatabaseError: the database cannot be used.
        """
        if (rows := self._rows) is not None:
            with as_os_error():
                return ask(rows)

        def run() -> Any:  # noqa: ANN401 - likewise
            with self._database.device_transaction(self._device, "read") as connection:
                return ask(DeviceRows(connection, self._device))

        with as_os_error():
            return self._database.retrying(run)

    def _row(self, name: str) -> Mapping[str, Any] | None:
        if (kept := self._configuration(name)) is not None:
            return kept.documents.get(name)
        found: Mapping[str, Any] | None = self.ask(lambda rows: rows.one(READ_SEALED, name=name))
        return found

    def _configuration(self, name: str) -> Configuration | None:
        """Return the cached settings and secrets; None for other documents, or if this thread is changing them."""
        if self._kept is None or self._rows is not None or not is_configuration(name):
            return None
        found: Configuration = self._kept.fresh or self.ask(self._kept.read)
        return found

    def _doubt(self) -> None:
        if self._kept is not None:
            self._kept.doubt()

    @property
    def _rows(self) -> DeviceRows | None:
        found: DeviceRows | None = getattr(self._changing, "rows", None)
        return found

    def _error(self, reason: str, cause: str, error: Exception, kind: type[VaultError] = VaultError) -> VaultError:
        return kind(
            f"The settings and secrets of {self._device} {reason}.",
            cause=cause,
            retryable=True,
            detail=f"{type(error).__name__}: {error}",
        )

"""Moving a home folder into a fleet, and copying a device of a fleet into a folder.

A folder may come from somebody else, so nothing outside of it is read, whatever its links and its list of jobs say.

Tokens and queue are used at one place only. A folder counts as a copy after it was imported, and so does a folder that
was exported: its tokens are not refreshed and its queue is not sent before ``mailslot token moved``.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.fleet.postgres import transfer
from mailslot.fleet.postgres.database import CommitInDoubtError
from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.home import fleet_location
from mailslot.fleet.postgres.messages import PIECE_SIZE, PostgresMessages
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.home.folder import FolderHome
from mailslot.slots.grant_store import GRANT_FIELD, parse_grant
from mailslot.spool.folder import transfer as folder_transfer
from mailslot.spool.folder.copied_spool import LOCATION_STORE, load_location, save_location
from mailslot.spool.folder.storage import FolderStorage
from mailslot.spool.job import UNFINISHED
from mailslot.spool.row_mapping import replace_surrogates
from mailslot.vault import durable
from mailslot.vault.lock import blocking_lock
from mailslot.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.oauth.location import Location
    from mailslot.wire.secret import Secret

_LOCK_TIMEOUT: Final = 5.0
"""Seconds to wait for a running command to release the folder."""

_OTHERWISE: Final = frozenset({"spool", "vault", "locks", "work", "thumbnails"})
"""The folders of a home that are moved differently, or belong to this machine only."""

_NOT_MOVED: Final = frozenset({"key", "key.lock", "change.json"})
_MAX_DOCUMENT: Final = 16 * 1024 * 1024
_VAULT: Final = "vault/"


class ImportInDoubtError(InputError):
    """The database did not respond to the commit of an import; the folder counts as moved."""


def import_folder(source: FolderHome, target: PostgresHome, database: FleetDatabase) -> None:
    """Move the contents of a home folder to an empty device. Blocks.

    Raises:
        ImportInDoubtError: it is unknown whether it was moved.
        InputError: a process uses the folder, it is a copy, or something in it or in the database cannot be used; then
            nothing is moved.
        MailError: a secret or the queue cannot be read.
    """
    _check_links(source.folder)
    with ExitStack() as stack:
        # No service or command may send jobs, or refresh a token that was already read.
        for name in ("service", *_records(source)):
            stack.enter_context(source.blocking_lock(name, timeout=_LOCK_TIMEOUT))
        storage: FolderStorage | None = None
        tables: dict[str, list[dict[str, Any]]] = {}
        if source.has_spool():
            folder = source.folder.absolute() / "spool"
            stack.enter_context(blocking_lock(folder / "delivery.lock", timeout=_LOCK_TIMEOUT))
            storage = FolderStorage(folder, time.time)
            stack.enter_context(closing(storage))
            storage.open()
            tables = storage.read_blocking(lambda each: folder_transfer.dump_rows(each.connection))
        _check_original(source, storage, tables, target)
        documents = _read_documents(source.folder)
        secrets = _read_secrets(source)
        # Before the device can be used: two places with the same token would have it revoked.
        _move_folder_to(source, storage, target)
        try:
            with as_input_error(), database.device_transaction(target.device) as connection:
                rows = DeviceRows(connection, target.device)
                with target.documents.within(rows):
                    target.documents.replace(documents)
                    vault = Vault(target.documents, target.keys)
                    for record, fields in secrets.items():
                        vault.write(record, _with_location(record, fields, target.locate(record)))
                if storage is not None:
                    messages = PostgresMessages(connection, target.device)
                    _import_spool(storage, tables, source.folder / "spool", rows, messages)
        except CommitInDoubtError as error:
            # Left unchanged: at worst it belongs to an empty device, and can be imported again.
            raise ImportInDoubtError(
                f"The database has not answered, so it is unknown whether {source.folder} was moved to "
                f"{target.device}. If that device is empty, remove it, and import the folder again.",
                stage="resolve",
            ) from error
        except BaseException:
            _move_folder_back(source, storage)
            raise


def export_device(source: PostgresHome, folder: Path, database: FleetDatabase) -> None:
    """Copy a consistent snapshot of a device into a new folder. Blocks.

    Raises:
        InputError: the folder is not empty, or the database cannot be used.
        MailError: a secret cannot be read, or the folder cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: name a folder that does not exist yet.", stage="resolve")
    target = FolderHome(folder)
    storage = FolderStorage(folder.absolute() / "spool", time.time)
    with as_input_error(), database.device_transaction(source.device, "read") as connection, closing(storage):
        rows = DeviceRows(connection, source.device)
        messages = PostgresMessages(connection, source.device)
        with source.documents.within(rows):
            found = transfer.documents(rows)
            vault, own = Vault(source.documents, source.keys), Vault(target.documents, target.keys)
            for name in found:
                if name.startswith(_VAULT):
                    record = name.removeprefix(_VAULT).removesuffix(".json")
                    own.write(record, _secrets_of(vault, record))
                else:
                    target.documents.replace({name: found[name]})
        storage.open()
        tables = transfer.dump_rows(rows)
        for file in sorted(row["file"] for table in ("jobs", "mails") for row in tables[table] if row["file"]):
            _check_within(folder / "spool" / file, folder / "spool")
            _write_file(folder / "spool" / file, _pieces(messages, file))
        durable.sync_folder(folder / "spool")
        ids = transfer.highest_ids(rows)

        def fill(repositories: Any) -> None:  # noqa: ANN401 - those of SQLite
            folder_transfer.restore_rows(repositories.connection, tables)
            folder_transfer.continue_after(repositories.connection, ids)
            save_location(repositories.values, fleet_location(source.device, "delivery"))

        storage.write_blocking(fill)


def _check_original(
    source: FolderHome,
    storage: FolderStorage | None,
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    target: PostgresHome,
) -> None:
    """Check that the tokens and the queue of a folder are used there, rather than where it was moved to or copied from.

    Raises:
        InputError: they are used elsewhere.
        VaultError: a token cannot be read.
    """
    vault = Vault(source.documents, source.keys)
    copies: list[str] = []
    for record in _records(source):
        grant = vault.read(record, GRANT_FIELD)
        location = None if grant is None else parse_grant(grant, record).location
        if _is_elsewhere(location, source.locate(record), target.locate(record)):
            copies.append(record)
    if storage is not None and any(row["state"] in UNFINISHED for row in tables["jobs"]):
        location = storage.read_blocking(lambda each: load_location(each.values))
        if _is_elsewhere(location, storage.locate(), target.locate("delivery")):
            copies.append("the queue")
    if copies:
        raise InputError(
            f"{source.folder} is a copy: what it has is used elsewhere ({', '.join(copies)}). If that is not so any "
            f"more, run: mailslot --home {source.folder} token moved",
            stage="resolve",
        )


def _is_elsewhere(location: Location | None, source: Location, target: Location) -> bool:
    """Return whether a location is neither that of the folder nor that of the device to which it is moved."""
    return location is not None and location != target and source.is_copy_of(location)


def _import_spool(
    storage: FolderStorage,
    tables: dict[str, list[dict[str, Any]]],
    folder: Path,
    rows: DeviceRows,
    messages: PostgresMessages,
) -> None:
    # A job that was being sent when a process died is recovered by the next service, as after a crash.
    memory = [row for row in tables["memory"] if row["store"] != LOCATION_STORE]
    transfer.restore_rows(rows, {**tables, "memory": memory})
    transfer.continue_after(rows, storage.read_blocking(lambda each: folder_transfer.highest_ids(each.connection)))
    for table in ("jobs", "mails"):
        for row in tables[table]:
            if row["file"] is not None:
                messages.insert(row["file"], _read_file(folder, row["file"]))


def _move_folder_to(source: FolderHome, storage: FolderStorage | None, target: PostgresHome) -> None:
    """Assign the folder's tokens and queue to the fleet."""
    vault = Vault(source.documents, source.keys)
    for record in _records(source):
        vault.write(record, _with_location(record, _grant_of(vault, record), target.locate(record)))
    if storage is not None:
        here = target.locate("delivery")
        storage.write_blocking(lambda repositories: save_location(repositories.values, here))


def _move_folder_back(source: FolderHome, storage: FolderStorage | None) -> None:
    vault = Vault(source.documents, source.keys)
    for record in _records(source):
        vault.write(record, _with_location(record, _grant_of(vault, record), source.locate(record)))
    if storage is not None:
        storage.move_here()


def _with_location(record: str, fields: dict[str, Secret | None], here: Location) -> dict[str, Secret | None]:
    """Return secrets with the location of their grant changed."""
    grant = fields.get(GRANT_FIELD)
    if grant is None:
        return fields
    return {**fields, GRANT_FIELD: replace(parse_grant(grant, record), location=here).to_secret()}


def _grant_of(vault: Vault, record: str) -> dict[str, Secret | None]:
    grant = vault.read(record, GRANT_FIELD)
    return {} if grant is None else {GRANT_FIELD: grant}


def _secrets_of(vault: Vault, record: str) -> dict[str, Secret | None]:
    return {field: vault.read(record, field) for field in sorted(vault.fields(record))}


def _read_secrets(source: FolderHome) -> dict[str, dict[str, Secret | None]]:
    vault = Vault(source.documents, source.keys)
    return {record: _secrets_of(vault, record) for record in _records(source)}


def _records(source: FolderHome) -> list[str]:
    names = sorted(source.documents.names(_VAULT.rstrip("/")))
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]


def _read_documents(folder: Path) -> dict[str, bytes | None]:
    """Return all other files of a home, by name."""
    found: dict[str, bytes | None] = {}
    for place, folders, files in os.walk(folder):
        if place == str(folder):
            folders[:] = [each for each in folders if each not in _OTHERWISE]
        for file in sorted(files):
            path = Path(place) / file
            name = path.relative_to(folder).as_posix()
            if replace_surrogates(name) != name:
                raise InputError(f"{name!r} cannot be imported: its name is not UTF-8.", stage="resolve")
            if name in _NOT_MOVED or path.suffix == ".lock":
                continue
            try:
                found[name] = durable.read(path, _MAX_DOCUMENT)
            except OSError as error:
                raise InputError(f"{path} cannot be imported: {error.strerror}.", stage="resolve") from error
    return found


def _check_links(folder: Path) -> None:
    """Check that no link leads out of a folder.

    Raises:
        InputError: one does.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if os.path.islink(path := os.path.join(place, name)):  # noqa: PTH114, PTH118 - there may be many
                _check_within(Path(path), folder)


def _check_within(path: Path, folder: Path) -> None:
    """Check that a file is in a folder.

    Raises:
        InputError: it is elsewhere.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{path} leads out of {folder}, so it is neither read nor written. If it is a link, put a copy in its "
            "place.",
            stage="resolve",
        )


def _read_file(folder: Path, name: str) -> Iterator[bytes]:
    path = folder / name
    # The list of jobs may name any file.
    _check_within(path, folder)
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_SIZE):
                yield piece
    except OSError as error:
        raise InputError(f"{path} cannot be imported: {error.strerror}.", stage="resolve") from error


def _write_file(path: Path, pieces: Iterator[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o400)


def _pieces(messages: PostgresMessages, file: str) -> Iterator[bytes]:
    number = 0
    while (piece := messages.piece(file, number)) is not None:
        yield piece
        number += 1

"""A document with secrets is the one that was written last at its place, or it is refused."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from mailslot.fleet.postgres.schema import SCHEMA
from mailslot.slots.records import Records
from mailslot.vault.errors import VaultError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from lab.postgres import Fleet
    from mailslot.fleet.postgres.home import PostgresHome

OLD, NEW = Secret("open sesame"), Secret("open barley")
SMTP = "vault/smtp.json"


@pytest.fixture
def home(fleet: Fleet) -> PostgresHome:
    home = fleet.add_device()
    Records(home).vault.write("smtp", {"password": OLD})
    return home


def execute(fleet: Fleet, query: str, *values: object) -> None:
    with fleet.database.connection() as connection, connection.transaction():
        connection.execute(f"SET LOCAL search_path = {SCHEMA}")
        assert connection.execute(query.encode(), values).rowcount == 1


def read(home: PostgresHome) -> Secret | None:
    return Records(home).vault.read("smtp", "password")


@pytest.mark.parametrize("change", ["octets", "row", "removed"])
def test_an_older_copy_is_refused(fleet: Fleet, home: PostgresHome, change: str) -> None:
    number = home.device.number
    with fleet.database.connection() as connection:
        query = f"SELECT octets, version FROM {SCHEMA}.documents WHERE device = %s AND name = %s"
        before = connection.execute(query, (number, SMTP)).fetchone()
    assert before is not None
    vault = Records(home).vault
    if change == "removed":
        vault.delete("smtp")
        assert read(home) is None
        execute(
            fleet,
            "INSERT INTO documents (tenant, device, name, octets, version) VALUES (%s, %s, %s, %s, %s)",
            *(home.device.tenant, number, SMTP, before["octets"], before["version"]),
        )
    else:
        vault.write("smtp", {"password": NEW})
        assert read(home) == NEW
        column = ", version = %s" if change == "row" else ""
        values = (before["octets"], before["version"]) if change == "row" else (before["octets"],)
        execute(
            fleet, f"UPDATE documents SET octets = %s{column} WHERE device = %s AND name = %s", *values, number, SMTP
        )
    with pytest.raises(VaultError, match="changed by another" if change == "octets" else "older copy") as caught:
        read(home)
    assert caught.value.cause == "token_store_unreadable"
    # As the sentence says: what is there is deleted, and obtained again.
    vault.delete("smtp")
    assert read(home) is None
    vault.write("smtp", {"password": NEW})
    assert read(home) == NEW


@pytest.mark.parametrize("tenant", ["acme", "another"])
def test_a_copy_from_another_device_is_refused(fleet: Fleet, home: PostgresHome, tenant: str) -> None:
    other = fleet.add_device(tenant)
    Records(other).vault.write("smtp", {"password": NEW})
    copy = "UPDATE {table} AS mine SET {columns} FROM {table} AS theirs WHERE mine.device = %s AND theirs.device = %s"
    devices = home.device.number, other.device.number
    both = " AND mine.name = theirs.name AND mine.name = 'vault/smtp.json'"
    execute(fleet, copy.format(table="documents", columns="octets = theirs.octets") + both, *devices)
    with pytest.raises(VaultError, match="copied from another place"):
        read(home)
    # Its seal does not help.
    columns = "seal = theirs.seal, key = theirs.key"
    execute(fleet, copy.format(table="seals", columns=columns) + both, *devices)
    with pytest.raises(VaultError, match=r"copied from another place|need a key"):
        read(home)


def test_a_document_of_another_program_is_refused(fleet: Fleet, home: PostgresHome) -> None:
    octets = home.documents.read(SMTP, 10_000)
    query = "INSERT INTO documents (tenant, device, name, octets, version) VALUES (%s, %s, %s, %s, 1000)"
    execute(fleet, query, home.device.tenant, home.device.number, "vault/fax.json", octets)
    with pytest.raises(VaultError, match="another program"):
        Records(home).vault.read("fax", "password")


def test_reading_beside_changes(fleet: Fleet, home: PostgresHome) -> None:
    changed = threading.Event()

    def change() -> None:
        vault = Records(fleet.home(home.device.tenant_name, home.device.name)).vault
        for number in range(30):
            vault.write("smtp", {"password": OLD if number % 2 else NEW})
        changed.set()

    thread = threading.Thread(target=change)
    thread.start()
    while not changed.is_set():
        assert read(home) in {OLD, NEW}
    thread.join()

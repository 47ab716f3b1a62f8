"""Sessions of staff in the database: every process knows them, they end in time, and who reads them gains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from command_line import mailslot
from lab.postgres import Fleet
from mailslot.fleet.postgres.database import FleetDatabase
from mailslot.fleet.postgres.schema import SCHEMA
from mailslot.fleet.postgres.staff_sessions import MOST_OF_ONE, StaffSessions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = "staff-" + "x" * 43
IDLE, LONGEST = 900.0, 43_200.0


@pytest.fixture
def fleet(postgres: Any, tmp_path: Path) -> Iterator[Fleet]:
    found = Fleet(postgres.create_database(), tmp_path)
    yield found
    found.database.close()


def sessions(fleet: Fleet, realm: bytes = b"realm") -> StaffSessions:
    return StaffSessions(fleet.database, realm, idle=IDLE, longest=LONGEST)


def rows(fleet: Fleet, statement: str) -> list[dict[str, Any]]:
    with fleet.database.connection() as connection:
        cursor = connection.execute(statement.format(f"{SCHEMA}.staff_sessions").encode())
        return cursor.fetchall() if cursor.description else []


def age(fleet: Fleet, **seconds: float) -> None:
    """Let the sessions be older."""
    changes = ", ".join(f"{name} = now() - interval '{number} s'" for name, number in seconds.items())
    rows(fleet, f"UPDATE {{}} SET {changes}")


def test_every_process_knows_a_session(fleet: Fleet) -> None:
    other = FleetDatabase(fleet.url)
    there = StaffSessions(other, b"realm", idle=IDLE, longest=LONGEST)
    sessions(fleet).begin(ID, "1", "Alice", "her rights")
    assert there.find(ID, used=True) == "her rights"
    assert there.find(ID[:-1] + "y", used=True) is None
    # Whoever reads the table can neither use a session nor read what is known of it.
    [row] = rows(fleet, "SELECT * FROM {}")
    assert not [value for value in row.values() if ID in str(value) or "rights" in str(value)]
    there.end(ID)
    there.end(ID)
    assert sessions(fleet).find(ID, used=True) is None
    other.close()


def test_other_settings_give_other_rights(fleet: Fleet) -> None:
    sessions(fleet).begin(ID, "1", "Alice", "her rights")
    assert sessions(fleet, b"other").find(ID, used=True) is None
    assert sessions(fleet).find(ID, used=True) == "her rights"


def test_limits(fleet: Fleet) -> None:
    found = sessions(fleet)
    found.begin(ID, "1", "Alice", "")
    age(fleet, used_at=IDLE - 100)
    # A page that updates itself does not keep it alive.
    assert found.find(ID, used=False) == ""
    assert rows(fleet, "SELECT now() - used_at > interval '100 s' AS unused FROM {}") == [{"unused": True}]
    assert found.find(ID, used=True) == ""
    assert rows(fleet, "SELECT now() - used_at > interval '100 s' AS unused FROM {}") == [{"unused": False}]
    # Not each request writes.
    [before] = rows(fleet, "SELECT xmin::text FROM {}")
    assert found.find(ID, used=True) == ""
    assert rows(fleet, "SELECT xmin::text FROM {}") == [before]
    age(fleet, used_at=IDLE)
    assert found.find(ID, used=True) is None
    age(fleet, used_at=0, began_at=LONGEST)
    assert found.find(ID, used=True) is None
    # The next sign-in removes it.
    found.begin(ID[:-1] + "y", "2", "Bob", "")
    assert rows(fleet, "SELECT subject FROM {}") == [{"subject": "2"}]


def test_one_person_has_not_any_number(fleet: Fleet) -> None:
    found = sessions(fleet)
    ids = [f"staff-{number:043}" for number in range(MOST_OF_ONE + 1)]
    found.begin(ID, "2", "Bob", "his")
    for id_ in ids[:2]:
        found.begin(id_, "1", "Alice", "hers")
    age(fleet, used_at=100, began_at=100)
    assert found.find(ids[0], used=True) == "hers"
    for id_ in ids[2:]:
        found.begin(id_, "1", "Alice", "hers")
    # The one that was unused for longest has ended.
    assert [id_ for id_ in ids if found.find(id_, used=False) is None] == [ids[1]]
    assert found.find(ID, used=False) == "his"


def test_sessions_are_ended_by_a_command(fleet: Fleet) -> None:
    found = sessions(fleet)
    for number, (subject, name) in enumerate([("1", "Alice"), ("1", "Alice"), ("2", "Bob"), ("3", "Carol")]):
        found.begin(f"staff-{number:043}", subject, name, "")

    def run(*words: str) -> str:
        ran = mailslot("fleet", "sign-out", *words, MAILSLOT_DATABASE=fleet.url)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert "2 sessions were ended" in run("Alice")
    assert "1 session was ended" in run("2")
    assert "0 sessions were ended" in run("Alice")
    assert "1 session was ended" in run()
    assert rows(fleet, "SELECT FROM {}") == []

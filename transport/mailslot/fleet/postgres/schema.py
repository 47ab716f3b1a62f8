"""Creates the tables of a fleet, and brings them up to date (`mailslot.fleet.postgres.migrations`).

Each table except `schema_version` and `staff_sessions` has the tenant in each row, and row-level security
(`mailslot.fleet.postgres.roles`).

The times of jobs and mails are in seconds since 1970, by the devices' clocks; the others are the database's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.fleet.postgres.migrations import MIGRATIONS
from mailslot.fleet.postgres.roles import create_roles, secure

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMA: Final = "mailslot"
ENGINE_SCHEMA: Final = "mailslot_wakeups"
"""The schema of procrastinate, which passes wake-ups to workers. Its contents may be lost."""

_LOCK: Final = 0x6D61696C
"""The advisory lock for migrations."""

_OF_NO_TENANT: Final = ("schema_version", "staff_sessions")


def migrate(connection: Connection[dict[str, Any]]) -> int:
    """Create the tables, or bring them up to date; return the number of migrations applied.

    The user must own the database, and may have to create the roles.

    Raises:
        InputError: they cannot be brought up to date; see `check_upgradable`.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.execute(f"SET LOCAL search_path = {SCHEMA}, pg_temp")
        # `scanned_at`: when a worker last scanned for due tasks. `consent_address`: the https address of the pages for
        # owners of mailboxes, with which links begin.
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version "
            "(version integer NOT NULL, scanned_at timestamptz, consent_address text)"
        )
        version = version_of(connection)
        check_upgradable(version)
        steps = [statements for leads_to, statements in MIGRATIONS.items() if leads_to > version]
        for statements in steps:
            for statement in statements:
                connection.execute(statement.encode())
        create_roles(connection)
        secure(connection, SCHEMA, tables(connection))
        if version == 0:
            connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (max(MIGRATIONS),))
        else:
            connection.execute("UPDATE schema_version SET version = %s", (max(MIGRATIONS),))
        return len(steps)


def version_of(connection: Connection[dict[str, Any]]) -> int:
    """Return the version of a database's tables; 0 for one without tables."""
    found = connection.execute("SELECT to_regclass(%s) AS found", (f"{SCHEMA}.schema_version",)).fetchone()
    if found is None or found["found"] is None:
        return 0
    row = connection.execute(f"SELECT version FROM {SCHEMA}.schema_version").fetchone()
    return 0 if row is None else int(row["version"])


def check_version(version: int) -> None:
    """Check that a database has the tables of this version of mailslot.

    Raises:
        InputError: it has no tables, or those of another version.
    """
    if version == 0:
        raise InputError("The database has no fleet yet: run mailslot fleet init.", stage="resolve")
    check_upgradable(version)
    if version < max(MIGRATIONS):
        raise InputError("The fleet's tables are of an older version: run mailslot fleet init.", stage="resolve")


def check_upgradable(version: int) -> None:
    """Check that tables can be brought up to date, or are.

    Raises:
        InputError: they are of a newer version, or of one from before the first release.
    """
    if version > max(MIGRATIONS):
        raise InputError(
            "The fleet's tables were made by a newer version of mailslot: update mailslot.", stage="resolve"
        )
    if 0 < version < min(MIGRATIONS):
        raise InputError(
            "The fleet's tables were made by a checkout from before the first release: copy each device into a folder "
            "by mailslot fleet export of that checkout, and import the folders into a new database.",
            stage="resolve",
        )


def tables(connection: Connection[dict[str, Any]]) -> list[str]:
    """Return the names of all tables with rows of tenants."""
    found = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> ALL(%s) ORDER BY tablename",
        (SCHEMA, [*_OF_NO_TENANT]),
    )
    return [row["tablename"] for row in found]

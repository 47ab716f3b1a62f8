"""The users of the database that may work for a fleet, apart from the owner of its tables.

A worker's user may work for every tenant, one in each transaction. A tenant's user sees only the rows of that tenant,
whatever it queries. Neither can change the tables, or delete tenants and keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from mailslot.errors import InputError
from mailslot.fleet.postgres.key_registry import owner_transaction
from mailslot.fleet.postgres.roles import ROLE, WORKER_ROLE

if TYPE_CHECKING:
    from mailslot.fleet.postgres.database import FleetDatabase, Rows

_GRANT: Final = sql.SQL("GRANT {} TO {}")
_REVOKE: Final = sql.SQL("REVOKE {} FROM {}")


class DatabaseUsers:
    """The users of a fleet's database. Every method blocks, and may raise `InputError` if it cannot be used.

    Args:
        database: the database, whose user owns the tables.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database

    def allow(self, user: str, tenant: str | None) -> None:
        """Allow a user to work for one tenant, or, as a worker, for all.

        Args:
            user: an existing user.
            tenant: the name of the tenant; None for all.

        Raises:
            InputError: there is no such user or tenant, it is one of mailslot's own roles, or the user may work for all
                tenants already.
        """
        with owner_transaction(self._database) as connection:
            _check(connection, user)
            if tenant is None:
                connection.execute("DELETE FROM database_users WHERE name = %s", (user,))
                _execute(connection, _GRANT, WORKER_ROLE, user)
                return
            if _is_worker(connection, user):
                raise InputError(f"The user {user} may work for all tenants already.", stage="resolve")
            added = connection.execute(
                "INSERT INTO database_users (name, tenant) SELECT %s, id FROM tenants WHERE name = %s "
                "ON CONFLICT (name) DO UPDATE SET tenant = excluded.tenant",
                (user, tenant),
            )
            if added.rowcount == 0:
                raise InputError(f"There is no tenant {tenant} in the fleet.", stage="resolve")
            _execute(connection, _GRANT, ROLE, user)

    def forbid(self, user: str) -> None:
        """Revoke a user's permission to work for tenants.

        Raises:
            InputError: there is no such user, or it is one of mailslot's own roles.
        """
        with owner_transaction(self._database) as connection:
            _check(connection, user)
            connection.execute("DELETE FROM database_users WHERE name = %s", (user,))
            _execute(connection, _REVOKE, WORKER_ROLE, user)
            _execute(connection, _REVOKE, ROLE, user)


def _check(connection: Rows, user: str) -> None:
    if user in {ROLE, WORKER_ROLE}:
        raise InputError(
            f"{user} is a role that mailslot gives to users by this command: name a user of the database.",
            stage="resolve",
        )
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (user,)).fetchone() is None:
        raise InputError(
            f"There is no user {user} in the database: create it by CREATE ROLE {user} LOGIN …", stage="resolve"
        )


def _is_worker(connection: Rows, user: str) -> bool:
    row = connection.execute("SELECT pg_has_role(%s, %s, 'MEMBER') AS found", (user, WORKER_ROLE)).fetchone()
    return row is not None and bool(row["found"])


def _execute(connection: Rows, statement: sql.SQL, role: str, user: str) -> None:
    # A name cannot be a parameter of these statements.
    connection.execute(statement.format(sql.Identifier(role), sql.Identifier(user)))

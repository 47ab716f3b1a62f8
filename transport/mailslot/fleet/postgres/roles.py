"""The roles of a fleet's database, and the rows that each can see.

A transaction with the role `ROLE` sees only the rows of one tenant: the one in the setting ``mailslot.tenant``, or, if
the session's user works for one tenant only, always that one. The owner of the tables sees all rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

ROLE: Final = "mailslot_device"
"""The role of all work for one device. It is not a superuser, owns nothing, and cannot read across tenants."""

WORKER_ROLE: Final = "mailslot_worker"
"""The role of workers. It may take the other role for any tenant, and sees the due tasks of all tenants. Users with
only the other role are bound to the tenant in the table `database_users`."""

_TENANT: Final = (
    f"(SELECT CASE WHEN pg_has_role(session_user, '{WORKER_ROLE}', 'MEMBER') "
    f"THEN nullif(current_setting('mailslot.tenant', true), '')::bigint ELSE tenant_of_user() END)"
)
"""The tenant whose rows are visible, evaluated once for each query; a user of one tenant cannot choose another."""

_TENANT_COLUMNS: Final = {"tenants": "id"}
"""The column with the tenant in the tables where it is not ``tenant``."""

_READ_ONLY: Final = frozenset({"tenants", "devices", "data_keys", "database_users", "shared_secrets", "admin_consents"})
"""The tables that a device's work may only read."""

_ALL_TENANTS: Final = {
    "tenants": ("SELECT",),
    "devices": ("SELECT",),
    "leases": ("SELECT",),
    "tasks": ("SELECT", "UPDATE"),
    "servers": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "admin_consents": ("SELECT", "UPDATE"),
}
"""The privileges of workers on the rows of all tenants, to find due tasks and servers that are down, and to store an
administrator's answer."""


def create_roles(connection: Connection[dict[str, Any]]) -> None:
    """Create the roles, unless they exist."""
    _create_role(connection, ROLE)
    _create_role(connection, WORKER_ROLE)
    _grant_role(connection, ROLE, WORKER_ROLE)


def secure(connection: Connection[dict[str, Any]], schema: str, tables: Sequence[str]) -> None:
    """Enable row-level security by tenant, and grant the roles the necessary privileges.

    Args:
        connection: the database; its search path has the schema.
        schema: the schema of the tables.
        tables: the tables with rows of tenants.
    """
    connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {ROLE}".encode())
    connection.execute(f"GRANT SELECT ON schema_version TO {ROLE}")
    for table in tables:
        column = _TENANT_COLUMNS.get(table, "tenant")
        rights = "SELECT" if table in _READ_ONLY else "SELECT, INSERT, UPDATE, DELETE"
        connection.execute(f"GRANT {rights} ON {table} TO {ROLE}".encode())
        connection.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY".encode())
        connection.execute(f"DROP POLICY IF EXISTS of_tenant ON {table}".encode())
        connection.execute(f"CREATE POLICY of_tenant ON {table} USING ({column} = {_TENANT})".encode())
    _admit_workers(connection)


def admit_to_engine(connection: Connection[dict[str, Any]], schema: str) -> None:
    """Grant workers the use of the engine's tables, which have no rows of tenants."""
    connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {WORKER_ROLE}".encode())
    for rights in ("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"):
        connection.execute(f"GRANT {rights} IN SCHEMA {schema} TO {WORKER_ROLE}".encode())


def _create_role(connection: Connection[dict[str, Any]], role: str) -> None:
    """Create a role, unless another database of the same server has created it, and become a member."""
    connection.execute(
        f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOBYPASSRLS; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$".encode()
    )
    _grant_role(connection, role, "current_user")


def _grant_role(connection: Connection[dict[str, Any]], role: str, to: str) -> None:
    # Only the creator of the role may grant it, and may have granted it already.
    name = to if to == "current_user" else f"'{to}'"
    connection.execute(
        f"DO $$ BEGIN EXECUTE 'GRANT {role} TO ' || quote_ident({name}); "
        f"EXCEPTION WHEN insufficient_privilege THEN IF NOT pg_has_role({name}, '{role}', 'MEMBER') THEN RAISE; "
        "END IF; END $$".encode()
    )


def _admit_workers(connection: Connection[dict[str, Any]]) -> None:
    """Grant workers access to the due tasks of all tenants, and to the time of the last scan."""
    connection.execute(f"GRANT UPDATE (scanned_at) ON schema_version TO {WORKER_ROLE}")
    connection.execute(f"GRANT SELECT ON jobs_of_all, mails_of_all TO {WORKER_ROLE}")
    for table, rights in _ALL_TENANTS.items():
        for right in rights:
            name, check = f"workers_{right.lower()}", "WITH CHECK" if right == "INSERT" else "USING"
            connection.execute(f"GRANT {right} ON {table} TO {WORKER_ROLE}".encode())
            connection.execute(f"DROP POLICY IF EXISTS {name} ON {table}".encode())
            connection.execute(f"CREATE POLICY {name} ON {table} FOR {right} TO {WORKER_ROLE} {check} (true)".encode())

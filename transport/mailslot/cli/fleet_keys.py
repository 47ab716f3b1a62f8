"""``mailslot fleet``: keys, rewrap, rotate-key, allow and forbid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailslot.cli.console import make_console, print_json
from mailslot.cli.fleet_database import open_fleet
from mailslot.cli.fleet_options import Json, TenantName
from mailslot.cli.home import fleet_places
from mailslot.cli.listing import print_listing
from mailslot.errors import InputError
from mailslot.fleet.address import check_name
from mailslot.timestamps import iso

if TYPE_CHECKING:
    pass

User = Annotated[str, typer.Argument(metavar="USER", help="A user of the database.")]


def keys(context: typer.Context, *, as_json: Json = False) -> None:
    """List the tenants' data keys, and which master key has wrapped each.

    Examples:
        mailslot fleet keys
    """
    database = open_fleet(context)
    from mailslot.fleet.postgres.key_registry import KeyRegistry  # noqa: PLC0415 - it needs the extra

    found = KeyRegistry(database).all()
    rows: list[dict[str, Any]] = [
        {"tenant": key.tenant, "key": key.id, "master_key": key.wrapped.master, "added_at": iso(key.added_at)}
        for key in found
    ]
    if as_json:
        print_json(rows)
        return
    headings = ("Tenant", "Key", "Master key", "Added")
    cells = [[str(value) for value in row.values()] for row in rows]
    print_listing(make_console(), headings, cells, wrapped={"Tenant", "Master key"})


def rewrap(context: typer.Context, *, as_json: Json = False) -> None:
    """Wrap all data keys with the newest master key. Workers can keep running, and secrets are not changed.

    Run it again if it was stopped. Until it ends, the old master key is needed: the other lines of the file, older
    versions of the key in a key service, or MAILSLOT_OLD_MASTER_KEY.

    Examples:
        mailslot fleet rewrap
    """
    database, master = open_fleet(context), fleet_places().open_master_key()
    from mailslot.fleet.key_rotation import rewrap_keys  # noqa: PLC0415 - it needs the extra

    count = rewrap_keys(database, master)
    if as_json:
        print_json({"rewrapped": count, "master_key": master.newest()})
        return
    make_console().print(f"Data keys that were wrapped again with the newest master key: {count}.", highlight=False)


def rotate_key(context: typer.Context, tenant: TenantName, *, as_json: Json = False) -> None:
    """Encrypt all secrets of a tenant with a new data key, then delete the old key. Workers can keep running.

    Run it again if it was stopped: it continues with the new key.

    Examples:
        mailslot fleet rotate-key acme
    """
    check_name(tenant)
    database, master = open_fleet(context), fleet_places().open_master_key()
    from mailslot.fleet.key_rotation import rotate_tenant_key  # noqa: PLC0415 - it needs the extra

    count = rotate_tenant_key(database, tenant, master)
    if as_json:
        print_json({"tenant": tenant, "encrypted": count})
        return
    make_console().print(f"Secrets of {tenant} that were encrypted with its new key: {count}.", highlight=False)


def allow(
    context: typer.Context,
    user: User,
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="For this tenant only.")] = None,
    workers: Annotated[bool, typer.Option("--workers", help="For all tenants, as workers do.")] = False,
) -> None:
    """Allow a user of the database to work for one tenant, or, as a worker, for all; it need not own the tables.

    Examples:
        mailslot fleet allow worker --workers
        mailslot fleet allow acme_service --tenant acme
    """
    if workers == (tenant is not None):
        raise InputError("Say either --workers, or --tenant and which one.", stage="resolve")
    database = open_fleet(context)
    from mailslot.fleet.postgres.database_users import DatabaseUsers  # noqa: PLC0415 - it needs the extra

    DatabaseUsers(database).allow(user, None if tenant is None else check_name(tenant))
    whom = "all tenants, as workers do" if tenant is None else f"the tenant {tenant} only"
    make_console().print(f"The user {user} may work for {whom}.", highlight=False)


def forbid(context: typer.Context, user: User) -> None:
    """Revoke a database user's permission to work for tenants.

    Examples:
        mailslot fleet forbid acme_service
    """
    database = open_fleet(context)
    from mailslot.fleet.postgres.database_users import DatabaseUsers  # noqa: PLC0415 - it needs the extra

    DatabaseUsers(database).forbid(user)
    make_console().print(f"The user {user} may work for no tenant any more.", highlight=False)

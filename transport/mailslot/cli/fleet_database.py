"""Opening the database of a fleet, for the commands ``mailslot fleet``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.cli.home import fleet_places
from mailslot.errors import InputError
from mailslot.fleet.opening import open_database

if TYPE_CHECKING:
    import typer

    from mailslot.fleet.homes import FleetHomes
    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.registry import Registry

DATABASE: Final = "MAILSLOT_DATABASE"


def open_fleet(context: typer.Context, connections: int | None = None, *, for_pages: bool = False) -> FleetDatabase:
    """Return the database from ``--database`` or the environment.

    Args:
        context: the context of a command of ``mailslot fleet``.
        connections: the maximum number of connections; None for the needs of one device.
        for_pages: whether people wait for it in a browser.

    Raises:
        InputError: none is given, or its address cannot be used.
    """
    if not context.obj:
        raise InputError(
            f"Name the fleet's database: --database postgresql://HOST/DATABASE, or {DATABASE}.", stage="resolve"
        )
    return open_database(context.obj, connections, for_pages=for_pages)


def fleet_homes(context: typer.Context, connections: int | None = None, *, for_pages: bool = False) -> FleetHomes:
    """Return the homes of all devices of the fleet; the arguments are those of `open_fleet`.

    Raises:
        InputError: as for `open_fleet`.
    """
    database = open_fleet(context, connections, for_pages=for_pages)
    from mailslot.fleet.homes import FleetHomes  # noqa: PLC0415 - it needs the extra

    places = fleet_places()
    return FleetHomes(context.obj, database, places.open_master_key(), places)


def fleet_registry(context: typer.Context, database: FleetDatabase | None = None) -> Registry:
    """Return the registry of the fleet's devices.

    Args:
        context: the context of a command of ``mailslot fleet``.
        database: the database, if it is open.

    Raises:
        InputError: as for `open_fleet`.
    """
    found = database or open_fleet(context)
    from mailslot.fleet.postgres.registry import Registry  # noqa: PLC0415 - it needs the extra

    return Registry(found)

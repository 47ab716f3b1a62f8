"""The interface of a fleet's panel, which is a plugin, so that the library needs no web server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mailslot.errors import InputError
from mailslot.registry import PluginGroup

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.fleet.homes import FleetHomes


class FleetPanel(Protocol):
    """The panel of a fleet, on asyncio."""

    async def announce(self, listener: socket.socket) -> list[str]:
        """Return sentences for the person who starts it.

        Args:
            listener: the socket of `serve`.

        Raises:
            MailError: the panel cannot be served there.
        """
        ...

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled.

        Args:
            listener: a listening TCP socket.

        Raises:
            MailError: the panel cannot be served there, or the database's tables are of another version.
        """
        ...


FLEET_PANELS: Final[PluginGroup[Callable[[FleetHomes, Path], FleetPanel]]] = PluginGroup(
    "mailslot.fleet_panels", noun="fleet panel", check=callable
)
"""The factory of a fleet's panel, from the homes of its devices and its settings file, under the name ``panel``."""


def find_fleet_panel() -> Callable[[FleetHomes, Path], FleetPanel]:
    """Return the factory of a fleet's panel.

    Raises:
        InputError: none is installed, or it cannot be loaded, for example because packages are missing.
    """
    if "panel" not in FLEET_PANELS.names():
        raise InputError("There is no panel for fleets installed.", stage="resolve")
    return FLEET_PANELS.find("panel")

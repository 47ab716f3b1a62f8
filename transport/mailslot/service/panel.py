"""The interface of the panel, which is a plugin, so that the library needs no web server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mailslot.errors import InputError
from mailslot.registry import PluginGroup

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from mailslot.service.device import Device


class Panel(Protocol):
    """The panel of a device."""

    async def announce(self, listener: socket.socket, *, terminal: bool) -> list[str]:
        """Return sentences for the person who starts the service: the panel's address, and how to set it up.

        Args:
            listener: the socket of `serve`.
            terminal: whether they are shown on a terminal; in a log, the setup code must not appear.

        Raises:
            MailError: the panel cannot be served there.
        """
        ...

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled.

        Args:
            listener: a listening TCP socket; it stays open, so that this can be called again.

        Raises:
            MailError: the panel cannot be served there.
        """
        ...


PANELS: Final[PluginGroup[Callable[[Device], Panel]]] = PluginGroup("mailslot.panels", noun="panel", check=callable)
"""The factory of a device's panel, under the name ``panel``."""


def find_panel() -> Callable[[Device], Panel]:
    """Return the factory of a device's panel.

    Raises:
        InputError: none is installed, or it cannot be loaded, for example because packages are missing.
    """
    if "panel" not in PANELS.names():
        raise InputError("There is nothing installed that could answer on the network.", stage="resolve")
    return PANELS.find("panel")

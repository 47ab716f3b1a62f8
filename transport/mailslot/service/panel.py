"""The panel that the service serves: a plugin, so that the library needs no web server."""

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
        """Return sentences for whoever starts the service: where the panel is, and how to claim it.

        Args:
            listener: the socket of `serve`.
            terminal: whether only that person reads it, rather than a log.

        Raises:
            MailError: it cannot be served there.
        """
        ...

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled.

        Args:
            listener: a TCP socket that listens; it stays open for another call.

        Raises:
            MailError: it cannot be served there.
        """
        ...


PANELS: Final[PluginGroup[Callable[[Device], Panel]]] = PluginGroup("mailslot.panels", noun="panel", check=callable)
"""What makes the panel of a device, by the name ``panel``."""


def find_panel() -> Callable[[Device], Panel]:
    """Return the factory of a device's panel.

    Raises:
        InputError: none is installed, or it cannot be loaded, such as where its packages are missing.
    """
    if "panel" not in PANELS.names():
        raise InputError("There is nothing installed that could answer on the network.", stage="resolve")
    return PANELS.find("panel")

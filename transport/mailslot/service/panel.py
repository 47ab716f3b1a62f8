"""What answers on the network while the service runs: a plugin's, so that the library needs no web server."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, Protocol, cast

from mailslot.errors import InputError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from mailslot.service.device import Device

PANELS: Final = "mailslot.panels"
"""The entry points under which it is found, by the name ``panel``."""


class Panel(Protocol):
    """What answers."""

    async def serve(self, listener: socket.socket) -> None:
        """Answer until cancelled.

        Args:
            listener: a TCP socket that listens; it stays open for another call.
        """
        ...


def find_panel() -> Callable[[Device], Panel]:
    """Return what makes the panel of a device.

    Raises:
        InputError: none is installed, or its packages are missing.
    """
    for entry in entry_points(group=PANELS, name="panel"):
        try:
            return cast("Callable[[Device], Panel]", entry.load())
        except ModuleNotFoundError as error:
            raise InputError(f"--listen needs {error.name}: pip install 'mailslot[panel]'.", stage="resolve") from error
    raise InputError("There is nothing installed that could answer on the network.", stage="resolve")

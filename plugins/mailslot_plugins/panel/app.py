"""The panel as the service sees it.

Most panels are opened a few times a month, and their pages take twenty megabytes. So the pages are loaded for the first
request; until then, only the code that listens is loaded.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Final

import anyio

from mailslot_plugins.panel.background import BackgroundTasks
from mailslot_plugins.panel.late_application import LateApplication
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security.security import Security
from mailslot_plugins.panel.server import announcement, serve

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

    from mailslot.service.device import Device
    from mailslot.slots.section import Section

_PACKAGES: Final = ("starlette", "hypercorn", "jinja2", "argon2", "cryptography", "segno", "python_multipart")

for _package in _PACKAGES:
    # The person who starts the service must see this error, rather than the person who opens the panel.
    if find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)


class Panel:
    """The panel of a device; implements `mailslot.service.panel.Panel`.

    Attributes:
        section: its table in ``mailslot.toml``.
    """

    section: ClassVar[Section] = PANEL

    def __init__(self, device: Device) -> None:
        self._device = device
        self._security = Security(device)

    async def announce(self, listener: socket.socket, *, terminal: bool) -> list[str]:
        """Return sentences for the person who starts the service: the panel's address, and how to set it up.

        Args:
            listener: the socket of `serve`.
            terminal: whether they are shown on a terminal; in a log, the setup code must not appear.

        Raises:
            MailError: it cannot be served there.
        """
        return await announcement(self._device, self._security, listener, terminal=terminal)

    async def serve(self, listener: socket.socket) -> None:
        """Serve the panel until cancelled.

        Args:
            listener: a listening TCP socket; it stays open for another call.

        Raises:
            MailError: it cannot be served there.
        """
        tasks = BackgroundTasks()
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(tasks.run)
            try:
                app = LateApplication(partial(_application, self._device, tasks, self._security))
                await serve(self._device, self._security, app, listener)
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure


def _application(device: Device, tasks: BackgroundTasks, security: Security) -> ASGIApp:
    from mailslot_plugins.panel.application import application  # noqa: PLC0415 - see above

    return application(device, tasks, security)

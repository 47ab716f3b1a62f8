"""The listeners of the gateway: opened and closed as the settings say, while the service runs.

What a session needs is loaded once the first client comes, by `mailslot_plugins.gateway.servers`.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.net.endpoint import Security
from mailslot.net.listener import open_listener
from mailslot.shortage import is_shortage
from mailslot.slots.gateway.passwords import check_passwords
from mailslot.vault.errors import VaultError
from mailslot_plugins.gateway.gateway import open_gateway
from mailslot_plugins.gateway.listener_tls import ListenerTls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from mailslot.diagnosis.gateway_log import GatewayLog
    from mailslot.net.listener import Listener as OpenListener
    from mailslot.plugin import Device
    from mailslot.pop3.server.server import Pop3Server
    from mailslot.slots.gateway.listeners import Listener
    from mailslot.smtp.server.server import SmtpServer
    from mailslot_plugins.gateway.gateway import Gateway

_RETRY_INTERVAL: Final = 10.0
"""Seconds after which a listener that could not be opened is tried again."""

_CHECK_INTERVAL: Final = 60.0
"""Seconds after which certificates that were replaced on the disk are noticed."""

_PASSWORDS: Final = "passwords of devices"
"""What is checked besides the listeners."""

_SERVERS: Final = "mailslot_plugins.gateway.servers"
_OWNER_NOTICES: Final = "mailslot_plugins.gateway.owner_notices"
"""Modules that are imported when they are needed."""

logger = logging.getLogger(__name__)


async def serve_listeners(device: Device) -> None:
    """Serve devices until the service stops; messages in transfer are received to their end.

    Raises:
        MailError: the settings or the spool cannot be read.
    """
    gateway = await open_gateway(device)
    listeners = _Listeners(gateway)
    async with anyio.create_task_group() as group:
        group.start_soon(_keep_log, gateway.log)
        group.start_soon(_tell_owners, device)
        async with anyio.create_task_group() as servers, anyio.create_task_group() as following:
            following.start_soon(listeners.follow_settings, servers)
            await device.stopping.wait()
            following.cancel_scope.cancel()
            listeners.stop()
        # The last session has ended; its dialogue must still be written.
        group.cancel_scope.cancel()


async def _tell_owners(device: Device) -> None:
    """Tell owners of devices what becomes of their mail, once any device has an owner."""
    while not any(entry.notify for entry in device.gateway.devices.values()):
        await device.pause(math.inf)
    await _load(_OWNER_NOTICES)
    from mailslot_plugins.gateway.owner_notices import OwnerNotices  # noqa: PLC0415 - imported by now

    await OwnerNotices(device).run()


async def _load(module: str) -> None:
    """Load a module; a machine that has no descriptors or no memory for that now must not end the sessions."""
    while True:
        try:
            await run_sync(import_module, module)
        except Exception as error:
            if not is_shortage(error):
                raise
            logger.warning("%s cannot be loaded now, and is tried again: %s", module, error)
            await anyio.sleep(_RETRY_INTERVAL)
        else:
            return


async def _keep_log(log: GatewayLog) -> None:
    """Write the log until cancelled; a full disk must not end the sessions."""
    repeated = ""
    while True:
        try:
            await log.run()
        except MailError as error:
            if str(error) != repeated:
                logger.warning("The dialogues of devices cannot be written now, and are tried again: %s", error)
            repeated = str(error)
        await anyio.sleep(_RETRY_INTERVAL)


@dataclass(slots=True)
class _OpenListener:
    """An open listener.

    Attributes:
        settings: what it was opened with.
        listener: what it listens with.
        tls: its certificates and those of devices; None without TLS.
        server: what serves it; None before the first client.
    """

    settings: Listener
    listener: OpenListener
    tls: ListenerTls | None
    server: SmtpServer | Pop3Server | None = None

    async def serve(self, gateway: Gateway) -> None:
        """Serve it until `stop` is called and the last session has ended."""
        try:
            if not await self.listener.wait_for_client():
                return
            await _load(_SERVERS)
            from mailslot_plugins.gateway.servers import make_server  # noqa: PLC0415 - imported by now

            self.server = make_server(gateway, self.settings, self.listener, self.tls)
            await self.server.serve()
        finally:
            self.listener.close()

    def stop(self) -> None:
        """Close it, and end each session between transactions."""
        if self.server is None:
            self.listener.close()
        else:
            self.server.stop()


class _Listeners:
    """Opens and closes listeners as the settings change."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open: dict[str, _OpenListener] = {}
        self._failed: dict[str, str] = {}
        self._checked: int | None = None

    async def follow_settings(self, servers: TaskGroup) -> None:
        """Open and close listeners until cancelled.

        Settings that cannot be read and listeners that cannot be opened are tried again; open listeners are kept.

        Args:
            servers: the task group for the servers.
        """
        device = self._gateway.device
        while True:
            # Opening a listener takes a while, such as to create its certificate; the settings may change meanwhile.
            seen = device.changes
            complete = await self._attempt("", self._gateway.refresh)
            complete = await self._apply(servers) and complete
            await self._attempt(_PASSWORDS, self._check_passwords)
            if device.changes == seen:
                await device.pause(_CHECK_INTERVAL if complete else _RETRY_INTERVAL)

    def stop(self) -> None:
        """Close all listeners, and end each session between transactions."""
        for opened in self._open.values():
            opened.stop()

    async def _check_passwords(self) -> None:
        """Raise `VaultError` for passwords that are lost: they are read only when a device signs in."""
        device = self._gateway.device
        if self._checked == (seen := device.changes):
            return
        names = [entry.name for entry in device.gateway.devices.values() if entry.user is not None]
        try:
            await run_sync(partial(check_passwords, device.records.vault, names, decrypt=False))
        except VaultError:
            # A device may have been removed meanwhile, with its password.
            await device.refresh()
            if device.changes == seen:
                raise
        else:
            self._checked = seen

    async def _apply(self, servers: TaskGroup) -> bool:
        """Open, close and change listeners; return whether all of that succeeded."""
        wanted = self._gateway.settings.listeners
        for name, opened in list(self._open.items()):
            if _without_certificate(wanted.get(name)) != _without_certificate(opened.settings):
                opened.stop()
                del self._open[name]
        for name, settings in wanted.items():
            if name in self._open:
                await self._attempt(name, partial(self._refresh_tls, settings, self._open[name]))
            else:
                await self._attempt(name, partial(self._start, settings, servers))
        self._gateway.log.note_listening(
            {name: (opened.settings.host, opened.listener.port) for name, opened in self._open.items()},
            {name: sentence for name, sentence in self._failed.items() if name in wanted},
            {name: opened.tls.certificates for name, opened in self._open.items() if opened.tls is not None},
        )
        return not self._failed.keys() & wanted.keys()

    async def _attempt(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Do something, for the listener of this name if there is one; if it fails, log it once and return False."""
        try:
            await work()
        except MailError as error:
            if self._failed.get(name) != str(error):
                listener = name if name in self._gateway.settings.listeners else ""
                logger.error("%s", error, extra={"listener": listener, "detail": error.detail})  # noqa: TRY400 - no bug
            self._failed[name] = str(error)
            return False
        self._failed.pop(name, None)
        return True

    async def _start(self, settings: Listener, servers: TaskGroup) -> None:
        tls = None if settings.security is Security.NONE else ListenerTls(self._gateway.device.home)
        if tls is not None:
            await tls.refresh(settings, self._gateway.settings.client_certificates(settings))
        listener = await open_listener(settings.name, settings.host, settings.port)
        opened = self._open[settings.name] = _OpenListener(settings, listener, tls)
        servers.start_soon(opened.serve, self._gateway)
        logger.info("The listener %s is at %s:%d.", settings.name, settings.host, listener.port)

    async def _refresh_tls(self, settings: Listener, opened: _OpenListener) -> None:
        if opened.tls is not None:
            await opened.tls.refresh(settings, self._gateway.settings.client_certificates(settings))


def _without_certificate(settings: Listener | None) -> Listener | None:
    """Return the settings whose change requires closing a listener: all but the certificate."""
    return None if settings is None else replace(settings, certificate=None, key=None)

"""The listeners of the gateway: opened and closed as the settings say, while the service runs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import MailError
from mailslot.net.endpoint import Security
from mailslot.net.listener import open_listener
from mailslot.pop3.server import session as pop3_session
from mailslot.pop3.server.server import Pop3Server
from mailslot.smtp.server import session as smtp_session
from mailslot.smtp.server.server import SmtpServer
from mailslot_plugins.gateway.fetching import FetchingBackend
from mailslot_plugins.gateway.gateway import open_gateway
from mailslot_plugins.gateway.listener_tls import ListenerTls
from mailslot_plugins.gateway.owner_notices import OwnerNotices
from mailslot_plugins.gateway.submission import SubmissionBackend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from mailslot.diagnosis.gateway_log import GatewayLog
    from mailslot.plugin import Device
    from mailslot.slots.gateway.listeners import Listener
    from mailslot_plugins.gateway.gateway import Gateway

_RETRY_INTERVAL: Final = 10.0
"""Seconds until a listener that could not be opened is tried again."""

_CHECK_INTERVAL: Final = 60.0
"""Seconds until certificates that were replaced on the disk are noticed."""

logger = logging.getLogger(__name__)


async def serve_listeners(device: Device) -> None:
    """Serve devices until the service stops; messages under way are received to their end.

    Raises:
        MailError: the settings or the spool cannot be read.
    """
    gateway = await open_gateway(device)
    listeners = _Listeners(gateway)
    async with anyio.create_task_group() as group:
        group.start_soon(_keep_log, gateway.log)
        group.start_soon(OwnerNotices(device).run)
        async with anyio.create_task_group() as servers, anyio.create_task_group() as following:
            following.start_soon(listeners.follow_settings, servers)
            await device.stopping.wait()
            following.cancel_scope.cancel()
            listeners.stop()
        # The last session has ended, and its dialogue is still to be written.
        group.cancel_scope.cancel()


async def _keep_log(log: GatewayLog) -> None:
    """Write the log until cancelled; a disk that is full now must not end the sessions."""
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
    """A listener that is open.

    Attributes:
        settings: what it was opened with.
        server: what serves it.
        tls: its certificates and those of devices; None without TLS.
    """

    settings: Listener
    server: SmtpServer | Pop3Server
    tls: ListenerTls | None


class _Listeners:
    """Opens and closes listeners as the settings change."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open: dict[str, _OpenListener] = {}
        self._failed: dict[str, str] = {}

    async def follow_settings(self, servers: TaskGroup) -> None:
        """Open and close listeners until cancelled.

        Whatever cannot be read or opened is tried again, and what is open goes on as it was.

        Args:
            servers: where their tasks are.
        """
        device = self._gateway.device
        while True:
            # To open a listener takes a while, such as to make its certificate; the settings may change meanwhile.
            seen = device.changes
            complete = await self._attempt("", self._gateway.refresh)
            complete = await self._apply(servers) and complete
            if device.changes == seen:
                await device.pause(_CHECK_INTERVAL if complete else _RETRY_INTERVAL)

    def stop(self) -> None:
        """Close all listeners, and end each session between transactions."""
        for opened in self._open.values():
            opened.server.stop()

    async def _apply(self, servers: TaskGroup) -> bool:
        """Open, close and change listeners; return whether nothing has failed."""
        wanted = self._gateway.settings.listeners
        for name, opened in list(self._open.items()):
            if _without_certificate(wanted.get(name)) != _without_certificate(opened.settings):
                opened.server.stop()
                del self._open[name]
        for name, settings in wanted.items():
            if name in self._open:
                await self._attempt(name, partial(self._refresh_tls, settings, self._open[name]))
            else:
                await self._attempt(name, partial(self._start, settings, servers))
        self._gateway.log.note_listening(
            {name: (opened.settings.host, opened.server.listener.port) for name, opened in self._open.items()},
            {name: sentence for name, sentence in self._failed.items() if name in wanted},
            {name: opened.tls.certificates for name, opened in self._open.items() if opened.tls is not None},
        )
        return not self._failed.keys() & wanted.keys()

    async def _attempt(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Do something for a listener; if it fails, log it once and return False."""
        try:
            await work()
        except MailError as error:
            if self._failed.get(name) != str(error):
                logger.error("%s", error, extra={"listener": name, "detail": error.detail})  # noqa: TRY400 - no bug
            self._failed[name] = str(error)
            return False
        self._failed.pop(name, None)
        return True

    async def _start(self, settings: Listener, servers: TaskGroup) -> None:
        tls = None if settings.security is Security.NONE else ListenerTls(self._gateway.device.home)
        if tls is not None:
            await tls.refresh(settings, self._gateway.settings.client_certificates(settings))
        listener = await open_listener(settings.name, settings.host, settings.port)
        context = None if tls is None else tls.context
        server: SmtpServer | Pop3Server
        if settings.protocol == "POP":
            pop3 = pop3_session.SessionSettings(self._gateway.host, settings.security, context)
            server = Pop3Server(listener, pop3, FetchingBackend(self._gateway))
        else:
            smtp = smtp_session.SessionSettings(self._gateway.host, settings.security, context)
            server = SmtpServer(listener, smtp, SubmissionBackend(self._gateway))
        self._open[settings.name] = _OpenListener(settings, server, tls)
        servers.start_soon(server.serve)
        logger.info("The listener %s is at %s:%d.", settings.name, settings.host, listener.port)

    async def _refresh_tls(self, settings: Listener, opened: _OpenListener) -> None:
        if opened.tls is not None:
            await opened.tls.refresh(settings, self._gateway.settings.client_certificates(settings))


def _without_certificate(settings: Listener | None) -> Listener | None:
    """Return the settings for which a listener must be closed when they change; its certificate changes while open."""
    return None if settings is None else replace(settings, certificate=None, key=None)

"""Notifications to the service manager: sd_notify(3), as datagrams to the socket in ``NOTIFY_SOCKET``."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)


class ServiceManager:
    """The service manager; if there is none, all methods do nothing.

    Args:
        address: the path of its socket, or ``@NAME`` for an abstract one; empty without a service manager.
        watchdog: the period in seconds in which it expects a sign of life; None without a watchdog.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog = watchdog
        self._status = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], process: int) -> ServiceManager:
        """Return the service manager from the environment (sd_notify(3), sd_watchdog_enabled(3)).

        Args:
            environment: the process's environment.
            process: the process id, since the watchdog may be for another process.
        """
        address, pause = environment.get("NOTIFY_SOCKET", ""), environment.get("WATCHDOG_USEC", "")
        is_for_us = environment.get("WATCHDOG_PID") in {None, "", str(process)}
        watched = is_for_us and pause.isascii() and pause.isdigit() and int(pause) > 0
        return cls(address, int(pause) / 1_000_000 if watched else None)

    @property
    def present(self) -> bool:
        """Whether there is one."""
        return bool(self._address)

    def ready(self) -> None:
        """Report that the service is ready."""
        self._notify("READY=1")

    def stopping(self) -> None:
        """Report that the service is stopping."""
        self._notify("STOPPING=1")

    def status(self, text: str) -> None:
        """Report the status in one line, if it has changed."""
        if text != self._status:
            self._status = text
            self._notify(f"STATUS={text}")

    async def keep_watchdog(self) -> None:
        """Give a sign of life twice in each period, until cancelled; return at once without a watchdog."""
        while self._watchdog is not None:
            self._notify("WATCHDOG=1")
            await anyio.sleep(self._watchdog / 2)

    def _notify(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
                channel.sendto(message.encode(), self._address)
        except OSError as error:
            # The service must not fail because of the service manager.
            logger.debug("The service manager was not told %s: %s", message, error)

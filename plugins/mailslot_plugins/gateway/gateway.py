"""The state that all connections of the gateway share: settings, passwords of devices, rates, maildrops, and log."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.diagnosis.gateway_log import STORE, GatewayLog
from mailslot.slots.gateway.passwords import DevicePasswords
from mailslot.slots.slot import is_account
from mailslot.spool.limits import SpoolLimits
from mailslot_plugins.gateway.duplicates import DuplicateGuard
from mailslot_plugins.gateway.maildrop import Maildrops
from mailslot_plugins.gateway.rates import RateLimits
from mailslot_plugins.gateway.returned_mail import apply_if_report, was_examined
from mailslot_plugins.gateway.trace_ids import TraceIds
from mailslot_plugins.rules.section import SECTION as RULES

if TYPE_CHECKING:
    from mailslot.net.server_connection import ServerConnection
    from mailslot.plugin import Device, Incoming
    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot.slots.gateway.gateway_settings import GatewaySettings
    from mailslot.slots.gateway.listeners import Listener
    from mailslot_plugins.gateway.verdict import Verdict

ROOM_FOR_TRACE: Final = 4_096
"""Octets by which the header of a message may grow."""

PIPELINE_STORE: Final = "gateway"

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")


class Gateway:
    """The gateway of a home folder; made by `open_gateway`.

    Attributes:
        device: the device that mailslot runs on.
        passwords: verifies the passwords of devices.
        rates: counts the messages of devices.
        guard: recognizes duplicate messages.
        maildrops: the maildrops of devices.
        trace_ids: recognizes messages that have passed through this gateway.
        log: the last dialogues of devices, and unknown clients.
        host: the name of this machine.
        removals: how many times devices were removed.
    """

    def __init__(self, device: Device, trace_ids: TraceIds) -> None:
        self.device = device
        self.passwords = DevicePasswords(device.records.vault)
        self.rates = RateLimits(device.monotonic)
        self.guard = DuplicateGuard(device.now)
        self.maildrops = Maildrops(device.spool.ledger, self._look_at)
        self.trace_ids = trace_ids
        self.log = GatewayLog(device.store(STORE))
        self.host = "localhost"
        self.removals = 0
        self._removed: dict[str, int] = {}
        self._known: frozenset[str] | None = None

    @property
    def settings(self) -> GatewaySettings:
        """The listeners and devices, as last read."""
        return self.device.gateway

    async def refresh(self) -> None:
        """Apply changed settings.

        Raises:
            MailError: they cannot be read.
        """
        settings = self.settings
        known = frozenset(settings.devices)
        self.rates.forget_except(known)
        if self._known is None:
            # A device may have been removed from the settings since the service ran last.
            self._known = frozenset(await self.log.devices())
        if removed := self._known - known:
            self.removals += 1
            self._removed |= dict.fromkeys(removed, self.removals)
            for name in removed:
                # Its last dialogues may have been written after the command had deleted them.
                await self.log.forget(device=name)
        self._known = known
        for via in {entry.via for entry in settings.devices.values()}:
            await self.device.server_limits.read(settings.slots.find(via).record, settings.servers.get(via))

    async def _look_at(self, mail: Incoming) -> None:
        """Apply a report that a device deletes before it was handled.

        Mail of accounts is handled by `handle_account_mail`; mail of a slot is not handled while devices fetch it.
        """
        if mail.state == "fetched" and not (is_account(mail.record) and was_examined(mail)):
            await apply_if_report(mail, self.device)

    def listener(self, name: str) -> Listener | None:
        """Return a listener; None if it was removed."""
        return self.settings.listeners.get(name)

    def max_size(self, entry: DeviceEntry) -> int:
        """Return the maximum octets of a device's message, which is at most the upstream server's limit."""
        most = entry.size or SpoolLimits().max_message_size
        server = self.settings.servers.get(entry.via)
        upstream = self.device.server_limits.known(self.settings.slots.find(entry.via).record, server)
        return min(most, max(upstream - ROOM_FOR_TRACE, 1)) if upstream else most

    def note(
        self, connection: ServerConnection, entry: DeviceEntry, verdict: Verdict, *, messages: int, since: int
    ) -> None:
        """Record a device's connection, unless the device was removed meanwhile: a new one may have its name.

        Args:
            connection: the connection, which has ended.
            entry: the device.
            verdict: the outcome.
            messages: the number of messages that were submitted or fetched.
            since: `removals` when the connection was accepted.
        """
        from mailslot_plugins.gateway.verdict import dialogue_of  # noqa: PLC0415 - sessions load it

        if entry.name in self.settings.devices and self._removed.get(entry.name, 0) <= since:
            dialogue = dialogue_of(connection, self.device.now(), verdict, messages=messages)
            self.log.note_dialogue(entry.name, dialogue)

    def note_unknown(self, connection: ServerConnection, verdict: Verdict, *, helo: str = "") -> None:
        """Record the connection of an unknown device, which has ended; `helo` is the name in its HELO or EHLO."""
        tls = connection.peer.tls
        self.log.note_unknown(
            self.device.now(),
            connection.peer.address,
            listener=connection.peer.listener,
            helo=helo,
            user=connection.tried_user or "",
            tls=tls.version if tls is not None else "",
            verdict=verdict.sentence,
            cause=verdict.cause,
        )


async def open_gateway(device: Device) -> Gateway:
    """Return the gateway of a device, with its settings read.

    Raises:
        MailError: the settings or the spool cannot be read.
    """
    # Read now, so that they are known if the file is damaged later.
    await device.refresh([RULES])
    gateway = Gateway(device, await TraceIds.load(device.store(PIPELINE_STORE)))
    gateway.host = await run_sync(host_name)
    await gateway.refresh()
    return gateway


def host_name() -> str:
    """Return the name of this machine, in a form that a greeting allows. It blocks."""
    name = socket.gethostname()
    return name if _HOST.fullmatch(name) else "localhost"

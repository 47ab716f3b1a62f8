"""A device that runs a gateway, with a sandbox as the server upstream, and clients as old devices have them."""

from __future__ import annotations

import smtplib
import socket
import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

import anyio
from anyio.to_thread import run_sync

from mailslot.diagnosis import gateway_log
from mailslot.diagnosis.gateway_log import STORE, GatewayLog
from mailslot.net import sign_in_delay
from mailslot.service.device import Device, open_device
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.slots.accounts import add_account
from mailslot.slots.gateway.entries import add_device, add_listener
from mailslot.slots.records import Records
from mailslot_plugins.gateway.pipeline import GatewayPipeline
from mailslot_plugins.sandbox import run_sandbox
from service.sending_device import OPEN, sandbox_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from mailslot.spool.job import Job
    from mailslot.wire.secret import Secret
    from mailslot_plugins.sandbox import Sandbox

T = TypeVar("T")

ACCOUNT = "scans@example.com"
BOB = "bob@example.com"
MESSAGE = b"From: hall@copiers.example\r\nTo: bob@example.com\r\nSubject: a scan\r\n\r\npage one\r\n"


class GatewayDevice:
    """A running gateway.

    Attributes:
        device: the device that mailslot runs on.
        sandbox: the server upstream.
    """

    def __init__(self, device: Device, sandbox: Sandbox) -> None:
        self.device = device
        self.sandbox = sandbox
        self.log = GatewayLog(device.store(STORE))

    async def add_device(self, name: str, *, near: bool = True, **values: object) -> Secret | None:
        """Add a device; return once the gateway knows it, if clients of these tests may be that device."""
        password = values.pop("password", None)
        add = partial(add_device, self.device.records, name, {"via": "account.office", **values}, password=password)
        made = await run_sync(add)
        await self.device.refresh()
        if near:
            await self.until_some(self._is_greeted)
        return made

    async def _is_greeted(self) -> bool:
        port = await self.port()

        def knock() -> bool:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                return client.recv(1000).startswith(b"220 ")

        return await run_sync(knock)

    async def port(self, listener: str = "scan") -> int:
        """Return a listener's port, once it is open."""

        async def listening() -> tuple[str, int] | None:
            return (await self.log.listening()).get(listener)

        found = await self.until_some(listening)
        assert found is not None
        return found[1]

    async def jobs(self) -> list[Job]:
        return sorted(await self.device.spool.jobs(), key=lambda job: job.id)

    async def until_some(self, read: Callable[[], Awaitable[T]]) -> T:
        """Return what is read, once it is not empty."""
        with anyio.fail_after(60):
            while not (found := await read()):  # noqa: ASYNC110 - the store tells nobody
                await anyio.sleep(0.05)
        return found

    async def until(self, condition: Callable[[], Any]) -> None:
        with anyio.fail_after(60):
            while not condition():  # noqa: ASYNC110 - the sandbox tells nobody
                await anyio.sleep(0.02)

    async def client(self, work: Callable[[smtplib.SMTP], T], *, tls: bool = True, listener: str = "scan") -> T:
        """Run what a device does, in a thread."""
        port = await self.port(listener)

        def run() -> T:
            with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
                if tls:
                    client.starttls(context=untrusting())
                return work(client)

        return await run_sync(run)


def untrusting() -> ssl.SSLContext:
    """A client that takes any certificate, as old devices do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def send(
    client: smtplib.SMTP, *to: str, sender: str = "hall@copiers.example", message: bytes = MESSAGE
) -> dict[str, tuple[int, bytes]]:
    """Send a message; return the recipients that were refused."""
    return client.sendmail(sender, list(to or (BOB,)), message)


@asynccontextmanager
async def run_gateway(home: Path, **listener: object) -> AsyncIterator[GatewayDevice]:
    """Run a gateway with the account ``office`` and the listener ``scan``, and a sandbox upstream."""
    async with run_sandbox(personality=OPEN) as sandbox:
        records = Records(home)
        settings = sandbox_settings(sandbox) | {"sender_address": ACCOUNT}
        await run_sync(add_account, records, "office", "SMTP")
        await run_sync(records.change, "account.office", settings, {})
        await run_sync(add_listener, records, "scan", {"listen": "127.0.0.1:0", **listener})
        async with serve_gateway(records) as device:
            yield GatewayDevice(device, sandbox)


@asynccontextmanager
async def serve_gateway(records: Records) -> AsyncIterator[Device]:
    """Run the gateway of a home folder, without the pauses before it writes dialogues and refuses wrong passwords."""
    stop = anyio.Event()
    without_pauses = (patch.object(gateway_log, "_INTERVAL", 0.05), patch.object(sign_in_delay, "_FIRST_DELAY", 0.01))
    async with open_device(records) as device, anyio.create_task_group() as group:
        group.start_soon(Service(device, [GatewayPipeline()], ServiceManager()).run, stop.wait)
        try:
            with without_pauses[0], without_pauses[1]:
                yield device
        finally:
            stop.set()

"""What a mail costs that a device fetches, so that no change makes it slow unnoticed."""

from __future__ import annotations

import poplib
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from costs import Costs, threads_counted
from mailslot.net.listener import open_listener
from mailslot.service.device import open_device
from mailslot.slots.accounts import add_account
from mailslot.slots.gateway.entries import add_device, add_listener
from mailslot.slots.records import Records
from mailslot_plugins.gateway.gateway import open_gateway
from mailslot_plugins.gateway.servers import make_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.implementation.name != "cpython", reason="other interpreters have other calls"),
]

MAILS, TOGETHER = 64, 16
MAIL = b"Subject: request %02d\r\n\r\n" + b"A line as long as any.\r\n" * 160
MAX_CALLS = {"asyncio": 195, "trio": 195}
"""Calls a mail, those of the event loop included, where the command has come already; a tenth is to spare."""


def put_mails(home: Path) -> tuple[Records, str]:
    """Set a gateway up; return its records, and the password of a device that fetches."""
    records = Records(home)
    add_account(records, "box", "POP")
    add_listener(records, "fetch", {"listen": "127.0.0.1:0", "protocol": "pop3", "security": "none"})
    made = add_device(records, "fax", {"via": "account.box", "user": "fax"})
    assert made is not None
    return records, made.reveal()


async def test_costs_of_a_mail(tmp_path: Path, anyio_backend_name: str) -> None:
    records, password = await run_sync(put_mails, tmp_path)

    def sign_in(port: int) -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", port, timeout=600)
        client.user("fax")
        client.pass_(password)
        return client

    def fetch(client: poplib.POP3) -> list[bytes]:
        client.sock.sendall(b"".join(b"RETR %d\r\n" % number for number in range(1, MAILS + 1)))
        found: list[bytes] = []
        for _ in range(MAILS):
            assert client.file.readline().startswith(b"+OK")
            lines = list(iter(client.file.readline, b".\r\n"))
            found.append(b"".join(lines))
        return found

    async with open_device(records) as device:
        for number in range(MAILS):
            async with device.spool.ledger.receive("account.box", str(number)) as file:
                await file.write(MAIL % number)
        gateway = await open_gateway(device)
        listener = await open_listener("fetch", "127.0.0.1", 0)
        server = make_server(gateway, device.gateway.listeners["fetch"], listener, None)
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve)
            client = await run_sync(sign_in, listener.port)
            with threads_counted() as threads, Costs() as costs:
                found = await run_sync(fetch, client)
            # One for each read, and the one that the client runs in.
            assert threads.calls == MAILS // TOGETHER + 1
            client.close()
            server.stop()
    assert found == [MAIL % number for number in range(MAILS)]
    assert costs.calls / MAILS <= MAX_CALLS[anyio_backend_name], costs.calls / MAILS

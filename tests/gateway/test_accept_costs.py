"""What a message costs that a device hands over, so that no change makes it slow unnoticed."""

from __future__ import annotations

import math
import socket
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

MESSAGES = 24
ENVELOPE = b"MAIL FROM:<hall@copiers.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
MESSAGE = b"Subject: scan %02d\r\n\r\n" + b"A line as long as any.\r\n" * 80 + b".\r\n"
MAX_CALLS = {"asyncio": 1_750, "trio": 1_870}
"""Calls a message in the thread of the event loop; a fifth is to spare, since there may be more waits."""


def set_up(home: Path) -> Records:
    """Set a gateway up for whoever comes from this machine."""
    records = Records(home)
    add_account(records, "office", "SMTP")
    settings = {"server": "localhost", "port": 1, "security": "none", "sender_address": "office@example.com"}
    records.change("account.office", settings, {})
    add_listener(records, "scan", {"listen": "127.0.0.1:0", "security": "none"})
    add_device(records, "hall", {"via": "account.office", "address": ["127.0.0.1"], "to": ["*"]})
    return records


async def test_costs_of_a_message(tmp_path: Path, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow the machine is.
    monkeypatch.setattr("mailslot.spool.acceptance._ROOM_REMEMBERED", math.inf)
    records = await run_sync(set_up, tmp_path)

    def greet(port: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", port), timeout=600)
        client.recv(1_000)
        client.sendall(b"EHLO copier\r\n")
        client.recv(1_000)
        hand_over(client, 1)
        return client

    def hand_over(client: socket.socket, count: int) -> None:
        replies = client.makefile("rb")
        for number in range(count):
            client.sendall(ENVELOPE)
            assert [replies.readline()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
            client.sendall(MESSAGE % (number + count))
            assert replies.readline()[:3] == b"250"

    async with open_device(records) as device:
        gateway = await open_gateway(device)
        listener = await open_listener("scan", "127.0.0.1", 0)
        server = make_server(gateway, device.gateway.listeners["scan"], listener, None)
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve)
            client = await run_sync(greet, listener.port)
            with threads_counted() as threads, Costs() as costs:
                await run_sync(hand_over, client, MESSAGES)
            # One for each message, and the one that the client runs in.
            assert threads.calls == MESSAGES + 1
            client.close()
            server.stop()
        assert len(await device.spool.jobs()) == MESSAGES + 1
    # Only where the next octets come before somebody waits for them again, which is seldom.
    assert costs.system_calls["register"] < MESSAGES
    assert costs.calls / MESSAGES <= MAX_CALLS[anyio_backend_name], costs.calls / MESSAGES

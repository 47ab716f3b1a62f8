"""What fails for a while must not end the sessions of devices."""

from __future__ import annotations

import hashlib
import socket
import ssl
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from gateway.gateway_device import run_gateway, send, untrusting
from mailslot.diagnosis.gateway_log import GatewayLog
from mailslot.slots.gateway.entries import add_listener
from mailslot.spool.errors import full_error
from mailslot_plugins.gateway import listeners

if TYPE_CHECKING:
    import logging
    from pathlib import Path

    import trustme

    from gateway.gateway_device import GatewayDevice

pytestmark = pytest.mark.anyio


async def connect(gateway: GatewayDevice) -> socket.socket:
    """A device in the middle of a session."""
    port = await gateway.port()
    client = await run_sync(partial(socket.create_connection, ("127.0.0.1", port), timeout=60))
    assert (await run_sync(client.recv, 1000)).startswith(b"220 ")
    return client


async def is_served(client: socket.socket) -> bool:
    await run_sync(client.sendall, b"NOOP\r\n")
    return (await run_sync(client.recv, 1000)).startswith(b"250 ")


async def test_a_certificate_that_becomes_unreadable(tmp_path: Path, certificate: trustme.LeafCert) -> None:
    pem = tmp_path / "pair.pem"
    await run_sync(pem.write_bytes, certificate.private_key_and_cert_chain_pem.bytes())
    async with run_gateway(tmp_path / "home") as gateway:
        await gateway.add_device("hall", address=["127.0.0.1"])
        values = {"listen": "127.0.0.1:0", "security": "tls", "certificate": str(pem), "key": str(pem)}
        await run_sync(add_listener, gateway.device.records, "own", values)
        await gateway.device.refresh()
        await gateway.port("own")
        with await connect(gateway) as client:
            await run_sync(client.sendall, b"EHLO copier\r\n")
            await run_sync(client.recv, 1000)
            await run_sync(pem.write_bytes, b"no certificate")
            await gateway.add_device("attic", address=["10.0.0.1"])
            assert "own" in await gateway.until_some(gateway.log.failures)
            assert await is_served(client)
        assert await gateway.client(send) == {}


async def presented(gateway: GatewayDevice, listener: str) -> bytes:
    """Return the certificate that a device is shown, in DER."""
    port = await gateway.port(listener)

    def shake_hands() -> bytes:
        client = socket.create_connection(("127.0.0.1", port), timeout=60)
        with untrusting().wrap_socket(client) as tls:
            return tls.getpeercert(binary_form=True) or b""

    return await run_sync(shake_hands)


async def test_certificates_that_are_replaced_on_the_disk(
    tmp_path: Path, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "_CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(listeners, "_RETRY_INTERVAL", 0.1)
    pem = tmp_path / "pair.pem"

    async def replace(leaf: trustme.LeafCert) -> bytes:
        await run_sync(pem.write_bytes, leaf.private_key_and_cert_chain_pem.bytes())
        return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())

    old = await replace(ca.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=3)))
    own = {"listen": "127.0.0.1:0", "security": "tls", "certificate": str(pem), "key": str(pem)}
    async with run_gateway(tmp_path / "home") as gateway:
        await run_sync(add_listener, gateway.device.records, "own", own)
        await gateway.device.refresh()
        assert await presented(gateway, "own") == old
        [noted] = (await gateway.log.certificates())["own"]
        assert (noted.names, noted.generated) == (("localhost",), False)
        assert noted.fingerprint == hashlib.sha256(old).hexdigest()
        assert noted.ends_soon(gateway.device.now())
        assert not noted.has_ended(gateway.device.now())

        # What cannot be used changes nothing but what is told of it.
        await run_sync(pem.write_bytes, b"half a certific")
        told = await gateway.until_some(gateway.log.failures)
        assert told["own"].endswith("The listener own keeps the certificate that it has.")
        assert await presented(gateway, "own") == old

        new = await replace(ca.issue_cert("mail.example.com"))

        async def is_mended() -> bool:
            return not await gateway.log.failures()

        assert await gateway.until_some(is_mended)
        assert await presented(gateway, "own") == new
        [noted] = (await gateway.log.certificates())["own"]
        assert noted.names == ("mail.example.com",)
        assert not noted.ends_soon(gateway.device.now())
        # A wrong path in the settings is no reason to close it.
        change = partial(gateway.device.records.settings.edit, {("listeners", "own"): {"certificate": "/no/file"}})
        await run_sync(change)
        await gateway.device.refresh()
        assert "No such file" in (await gateway.until_some(gateway.log.failures))["own"]
        assert await presented(gateway, "own") == new
        generated = (await gateway.log.certificates())["scan"]
        assert [(each.key_type, each.generated) for each in generated] == [("RSA", True), ("ECDSA", True)]


async def test_passwords_that_are_lost_are_told_of_before_a_device_signs_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == listeners.__name__]

    async with run_gateway(tmp_path / "home") as gateway:
        await gateway.add_device("hall", near=False, user="hall")
        await gateway.port()
        assert told() == []
        key = tmp_path / "home" / "key"
        await run_sync(key.rename, tmp_path / "key")
        await gateway.add_device("attic", near=False, address=["10.0.0.1"])
        await gateway.until(told)
        [record] = told()
        assert record.message.startswith("The device hall cannot sign in, since the password is missing or cannot be")
        assert "is not here" in record.__dict__["detail"]
        # Others are served.
        await gateway.add_device("cellar", address=["127.0.0.1"])
        assert await gateway.client(send) == {}


async def test_a_log_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "_RETRY_INTERVAL", 0.1)
    refused = anyio.Event()
    flush = GatewayLog.flush

    async def refuse(log: GatewayLog) -> None:
        if refused.is_set():
            await flush(log)
            return
        refused.set()
        raise full_error("The disk is full.")

    async with run_gateway(tmp_path / "home") as gateway:
        await gateway.add_device("hall", address=["127.0.0.1"])
        with await connect(gateway) as client:
            monkeypatch.setattr(GatewayLog, "flush", refuse)
            assert await gateway.client(send) == {}
            with anyio.fail_after(60):
                await refused.wait()
            # Written by the next try; before it, a failed one would have ended everything.
            assert await gateway.until_some(partial(gateway.log.dialogues, "hall"))
            assert await gateway.client(partial(send, message=b"Subject: two\r\n\r\n")) == {}

            async def second() -> bool:
                return len(await gateway.log.dialogues("hall")) >= 2

            assert await gateway.until_some(second)
            await run_sync(client.sendall, b"EHLO copier\r\n")
            assert (await run_sync(client.recv, 1000)).startswith(b"250")
            assert await is_served(client)

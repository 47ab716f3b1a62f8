"""The demo of the gateway: a copier sends and a printer fetches mail, each with a password only."""

from __future__ import annotations

import os
import poplib
import smtplib
import ssl
from contextlib import aclosing, asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.diagnosis.gateway_log import STORE, GatewayLog
from mailslot.plugin import Records, open_device, poll_once
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.slots.accounts import add_account
from mailslot.slots.gateway.entries import add_device, add_listener
from mailslot_plugins.gateway.pipeline import pipeline
from mailslot_plugins.sandbox.demo_device import obtain_token
from mailslot_plugins.sandbox.demo_step import Stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from mailslot.plugin import Device
    from mailslot.slots.slot import Protocol
    from mailslot_plugins.sandbox.demo_step import Step
    from mailslot_plugins.sandbox.sandbox import Sandbox

GATEWAY: Final = "The gateway"
"""The name of the service in these steps."""

_ACCOUNT, _MAILBOX = "scanner@example.com", "print@example.com"
_COPIER: Final = "copier@hall.example"
_TIMEOUT: Final = 120.0


async def run_gateway_journey(sandbox: Sandbox, page: Path) -> AsyncIterator[Step]:
    """Send a page from a copier through the gateway, and fetch it from there with a printer.

    Args:
        sandbox: the mail service, which accepts only OAuth 2.0.
        page: the page.
    """
    stopwatch = Stopwatch()
    with TemporaryDirectory(prefix="mailslot-demo-") as folder:
        records = Records(Path(folder))
        passwords = await _set_up(records, sandbox)
        async with _serving(records) as device:
            ports = await _ports(device)
            came = f"SMTP on port {ports['copiers']} and POP3 on port {ports['printers']}; a password for each device"
            yield stopwatch.step(GATEWAY, "open the gateway", came, ok=True)
            sent = _scan(page)
            reply = await run_sync(_send, ports["copiers"], passwords["copier"], sent)
            yield stopwatch.step(GATEWAY, "a copier sends", f"by AUTH with its password: {reply}", ok=True)
            [job] = await device.spool.jobs()
            with anyio.fail_after(_TIMEOUT):
                async with aclosing(device.spool.watch(job.id)) as states:
                    async for job in states:
                        if job.state not in {"queued", "sending"} and not job.delivering:
                            break
            came = f"as {_ACCOUNT}, with a token: {job.reply or job.sentence}"
            yield stopwatch.step(GATEWAY, "send it on", came, ok=job.state == "sent")
            if job.state != "sent":
                return
            report = await poll_once(device, "account.mailbox", pipeline)
            came = f"the mailbox of {_MAILBOX}, with a token: {len(report.handled)} mail"
            yield stopwatch.step(GATEWAY, "poll", came, ok=report.ok)
            fetched = await run_sync(_fetch, ports["printers"], passwords["printer"])
            came = f"by USER and PASS with its password: {len(fetched):,} octets"
            yield stopwatch.step(GATEWAY, "a printer fetches it", came, ok=True)
            is_same = fetched.partition(b"\r\n\r\n")[2] == sent.partition(b"\r\n\r\n")[2]
            header = message_from_bytes(fetched, policy=policy.default)
            came = f"the page is the same; From is {header['From']}, Reply-To {header['Reply-To']}"
            yield stopwatch.step(GATEWAY, "compare", came if is_same else "the pages differ", ok=is_same)


async def _set_up(records: Records, sandbox: Sandbox) -> Mapping[str, str]:
    """Set up accounts, listeners and devices; return the devices' passwords."""
    authority = records.home / "ca.pem"
    await anyio.Path(authority).write_bytes(sandbox.ca_pem)
    common: dict[str, object] = {
        "server": "localhost",
        "authentication": "oauth2",
        "issuer": sandbox.issuer,
        "client_id": sandbox.provider.register("gateway").id,
        "ca_file": str(authority),
    }
    smtp: dict[str, object] = {
        "port": sandbox.smtp.port,
        "security": "starttls",
        "scopes": f"{sandbox.personality.smtp.scope} offline_access",
        "account": _ACCOUNT,
        "sender_address": _ACCOUNT,
    }
    pop: dict[str, object] = {
        "port": sandbox.pop3s.port,
        "security": "tls",
        "scopes": f"{sandbox.personality.pop3.scope} offline_access",
        "account": _MAILBOX,
        "first_poll": "all",
        # The journey polls by hand, and the gateway must not be polling just then.
        "check_interval": 0,
    }
    accounts: list[tuple[str, Protocol, dict[str, object], str]] = [
        ("office", "SMTP", smtp, _ACCOUNT),
        ("mailbox", "POP", pop, _MAILBOX),
    ]
    for name, protocol, settings, user in accounts:
        await run_sync(add_account, records, name, protocol)
        await run_sync(partial(records.change, f"account.{name}", {**common, **settings}, secrets={}))
        await obtain_token(records, f"account.{name}", user)
    await run_sync(add_listener, records, "copiers", {"listen": "127.0.0.1:0"})
    await run_sync(add_listener, records, "printers", {"listen": "127.0.0.1:0", "protocol": "pop3"})
    passwords: dict[str, str] = {}
    for name, via in (("copier", "account.office"), ("printer", "account.mailbox")):
        password = await run_sync(partial(add_device, records, name, {"user": name, "via": via}))
        assert password is not None  # noqa: S101 - it was made
        passwords[name] = password.reveal()
    return passwords


@asynccontextmanager
async def _serving(records: Records) -> AsyncGenerator[Device]:
    stop = anyio.Event()
    async with open_device(records) as device, anyio.create_task_group() as group:
        service = Service(device, [pipeline], ServiceManager.from_environment({}, os.getpid()))
        group.start_soon(service.run, stop.wait)
        try:
            yield device
        finally:
            stop.set()


async def _ports(device: Device) -> Mapping[str, int]:
    """Return the port of each listener, once all are open."""
    log = GatewayLog(device.store(STORE))
    found: Mapping[str, tuple[str, int]] = {}
    with anyio.fail_after(_TIMEOUT):
        async with aclosing(device.spool.changes()) as changes:
            async for _ in changes:
                found = await log.listening()
                if found.keys() == device.gateway.listeners.keys():
                    break
    return {name: port for name, (_, port) in found.items()}


def _scan(page: Path) -> bytes:
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"] = _COPIER
    mail["To"] = _MAILBOX
    mail["Subject"] = "A scanned page"
    mail.set_content("One page, scanned by the demo.\n")
    mail.add_attachment(page.read_bytes(), maintype="application", subtype="pdf", filename=page.name)
    return mail.as_bytes()


def _send(port: int, password: str, message: bytes) -> str:
    with smtplib.SMTP("127.0.0.1", port, timeout=_TIMEOUT) as client:
        client.starttls(context=_trusting_context())
        client.login("copier", password)
        client.mail(_COPIER)
        client.rcpt(_MAILBOX)
        code, text = client.data(message)
        return f"{code} {text.decode()}"


def _fetch(port: int, password: str) -> bytes:
    client = poplib.POP3("127.0.0.1", port, timeout=_TIMEOUT)
    client.stls(context=_trusting_context())
    client.user("printer")
    client.pass_(password)
    _, lines, _ = client.retr(1)
    client.dele(1)
    client.quit()
    return b"\r\n".join([*lines, b""])


def _trusting_context() -> ssl.SSLContext:
    """Return the context of an old device, which verifies no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

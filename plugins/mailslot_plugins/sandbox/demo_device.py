"""The device of the demo, with settings and history to explore in the panel.

Faxes and alarms work, and the toner is low. ``print.pop`` has never had a token, and a mail waits for it. The refresh
token for sending was revoked, and a scan waits for a new one.
"""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.diagnosis.connection_test import check_connection
from mailslot.plugin import DEVICE, Attachment, Mailbox, Message, NewJob, Records, Secret, TokenHttp
from mailslot.slots.flows import choose_flow
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.section import SECTION as ALERTS
from mailslot_plugins.fax.compose import compose
from mailslot_plugins.fax.section import SECTION as FAX
from mailslot_plugins.panel.security.password import Password
from mailslot_plugins.print.section import SECTION as PRINT
from mailslot_plugins.sandbox.demo_person import ConsentingPerson
from mailslot_plugins.sending.account import sender_mailbox

if TYPE_CHECKING:
    from mailslot.plugin import Device
    from mailslot_plugins.sandbox.sandbox import Sandbox

PASSWORD: Final = "open sesame"  # noqa: S105 - the demo prints it
"""The administrator's password."""

_RECIPIENT: Final = "alice@example.com"


def set_up_demo_device(home: Path, sandbox: Sandbox) -> Records:
    """Write the settings of the device. Blocks.

    Args:
        home: an empty folder.
        sandbox: its servers.
    """
    authority = home / "ca.pem"
    authority.write_bytes(sandbox.ca_pem)
    records = Records(home)
    common: dict[str, object] = {
        "server": "localhost",
        "authentication": "oauth2",
        "issuer": sandbox.issuer,
        "client_id": sandbox.provider.register("panel").id,
        "ca_file": str(authority),
    }
    smtp_scopes = f"{sandbox.personality.smtp.scope} offline_access"
    pop_scopes = f"{sandbox.personality.pop3.scope} offline_access"
    smtp = {**common, "port": sandbox.smtp.port, "security": "starttls", "scopes": smtp_scopes}
    pop = {**common, "port": sandbox.pop3s.port, "security": "tls", "scopes": pop_scopes, "first_poll": "all"}
    for record in ("smtp", "alert-smtp"):
        sender = {"account": "scanner@example.com", "sender_address": "scanner@example.com"}
        records.change(record, {**smtp, **sender, "sender_name": "Copier on the second floor"}, {})
    records.change("fax-pop", {**pop, "account": "fax@example.com", "check_interval": 1}, {})
    records.change("print-pop", {**pop, "account": "print@example.com"}, {})
    for name in ("faxes", "prints"):
        (home / name).mkdir()
    change = records.settings.change_section
    change(DEVICE, {"name": "Copier", "location": "Second floor", "model": "Sandbox 1000", "serial_number": "0042"})
    change(FAX, {"deliver_to": f"folder {home / 'faxes'}"})
    change(PRINT, {"printer": f"folder {home / 'prints'}", "allowed_senders": "@example.com"})
    change(ALERTS, {"recipients": _RECIPIENT})
    Password(home).set(Secret(PASSWORD))
    return records


async def populate_demo_device(device: Device, sandbox: Sandbox, page: Path) -> None:
    """Create the device's history, before its service runs."""
    for record, user in (("smtp", "scanner"), ("alert-smtp", "scanner"), ("fax-pop", "fax")):
        await obtain_token(device.records, record, f"{user}@example.com")
    grant = await device.records.tokens.store("smtp").load()
    if grant is not None and grant.refresh_token is not None:
        sandbox.provider.revoke(grant.refresh_token)
    await _scan(device, page, "Delivery note 4711")
    await Alarms(device).raise_("toner_low", part="black", detail="5 %")
    sandbox.maildrops["fax@example.com"].add(await _fax(device, page))
    sandbox.maildrops["print@example.com"].add(_mail_to_print(page))
    for slot in ("alert.smtp", "fax.pop"):
        await check_connection(device.connector, device.slots.find(slot))


async def obtain_token(records: Records, record: str, user: str) -> None:
    """Obtain the token of a record, as somebody who allows everything."""
    settings = records.settings.load()[record]
    flow = choose_flow(settings, "browser")
    async with TokenHttp(ca_file=settings.ca_file) as http:
        await records.tokens.source(record, settings, flow, http).obtain(ConsentingPerson(user))


async def _scan(device: Device, page: Path, subject: str) -> None:
    settings = (await run_sync(device.records.settings.load))["smtp"]
    message = Message(
        sender=sender_mailbox(device, settings),
        to=[_RECIPIENT],
        subject=subject,
        text="One document is attached.\n",
        attachments=[Attachment.from_path(page)],
    )
    new = NewJob("scan", "smtp", message.sender.address, [_RECIPIENT], subject=subject, lifetime=86_400.0)
    await device.spool.accept(new, message)


async def _fax(device: Device, page: Path) -> bytes:
    """Return the mail of a fax from another machine."""
    with TemporaryDirectory(prefix="mailslot-demo-") as name:
        fax = await compose(
            [page],
            Path(name),
            sender=Mailbox("office@example.com"),
            to=["fax@example.com"],
            subject=None,
            identity=device.identity,
            settings=device.settings(FAX),
            at=device.now(),
            coding="MH",
            confirm=False,
        )
        return b"".join([piece async for piece in fax.message.chunks()])


def _mail_to_print(page: Path) -> bytes:
    mail = EmailMessage()
    mail["From"] = "Alice <alice@example.com>"
    mail["To"] = "print@example.com"
    mail["Subject"] = "Please print: the plan for Monday"
    mail.set_content("copies: 1\n")
    mail.add_attachment(page.read_bytes(), maintype="application", subtype="pdf", filename="plan.pdf")
    return mail.as_bytes()

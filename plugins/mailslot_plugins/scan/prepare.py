"""What scans by command and scans from a folder share: sender, names and size limit."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot_plugins.rules.sending_rules import load_rules
from mailslot_plugins.scan.compose import ScanMessage
from mailslot_plugins.scan.enqueue import PIPELINE
from mailslot_plugins.scan.limits import size_limit
from mailslot_plugins.scan.patterns import Pattern
from mailslot_plugins.scan.section import SECTION
from mailslot_plugins.sending.account import RECORD, sender_mailbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot_plugins.scan.document import Document

_COUNTER: Final = "counter"


async def prepare_scan_message(
    device: Device,
    settings: Settings,
    documents: Sequence[Document],
    *,
    to: Sequence[Mailbox],
    cc: Sequence[Mailbox] = (),
    user: Mailbox | None = None,
    subject: str | None = None,
    text: str | None = None,
    name: str | None = None,
    at: float | None = None,
    counter: int | None = None,
    delay: str | None = None,
) -> ScanMessage:
    """Return a scan to be mailed; arguments that are None are taken from the settings.

    Raises:
        InputError: a pattern cannot be used, there are no recipients or too many, or a rule refuses some.
        DirectoryError: a rule depends on the directory, which could not be asked.
    """
    section = device.settings(SECTION)
    check_recipients(len(to) + len(cc), section)
    addresses = [mailbox.address for mailbox in (*to, *cc)]
    rules = await load_rules(device, addresses)
    rules.check(addresses, "" if user is None else user.address)
    subject = section["subject"] if subject is None else subject
    name = section["name"] if name is None else name
    patterns = Pattern(subject or "", "subject"), None if name is None else Pattern(name, "file name")
    if counter is None and any(pattern is not None and pattern.uses("counter") for pattern in patterns):
        counter = await next_scan_number(device)
    scanned_at = datetime.fromtimestamp(device.now() if at is None else at).astimezone()
    return ScanMessage(
        documents=documents,
        sender=user if user is not None and rules.sender == "user" else sender_mailbox(device, settings),
        to=to,
        cc=cc,
        user=user,
        subject=patterns[0],
        text=section["text"] if text is None else text,
        name=patterns[1],
        values=_placeholder_values(device, user) | ({} if counter is None else {"counter": counter}),
        scanned_at=scanned_at,
        bcc=rules.copies(addresses),
        send_at=rules.send_at(device.now(), delay),
    )


async def next_scan_number(device: Device) -> int:
    """Count a scan and return its number."""
    store = device.store(PIPELINE)
    number = int(await store.get(_COUNTER, 0)) + 1
    await store.put(_COUNTER, number)
    return number


async def current_size_limit(device: Device, settings: Settings) -> int:
    """Return the most octets that a mail may have, as far as that is known now."""
    announced = await device.server_limits.read(RECORD, settings.server)
    return size_limit(announced, settings, device.settings(SECTION))


def check_recipients(count: int, section: Mapping[str, Any]) -> None:
    """Check the number of recipients.

    Raises:
        InputError: there are none, or too many.
    """
    if not count:
        raise InputError("The scan has no recipients: name them with --to.", stage="envelope")
    if count > section["max_recipients"]:
        raise InputError(
            f"The scan has {count} recipients, and at most {section['max_recipients']} are allowed. Nothing was sent.",
            stage="envelope",
        )


def _placeholder_values(device: Device, user: Mailbox | None) -> dict[str, str | int]:
    identity = device.identity
    return {
        "device": identity.name or identity.model or "the scanner",
        "model": identity.model,
        "serial": identity.serial_number,
        "location": identity.location,
        "user": "" if user is None else user.name or user.address.rpartition("@")[0],
    }

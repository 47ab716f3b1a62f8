"""What scans by command and scans from a folder share: sender, names and size limit."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from mailslot.diagnosis.history import History
from mailslot.errors import InputError
from mailslot.service.server_limits import announced_size
from mailslot_plugins.scan.compose import ScanMessage
from mailslot_plugins.scan.enqueue import PIPELINE
from mailslot_plugins.scan.limits import size_limit
from mailslot_plugins.scan.patterns import Pattern
from mailslot_plugins.scan.section import SECTION
from mailslot_plugins.sending.account import RECORD, sender_mailbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot_plugins.scan.document import Document

_COUNTER: Final = "counter"
_SIZE_KEYWORD: Final = re.compile(r"S: 250[ -]SIZE(?: (\d{1,15}))?", re.IGNORECASE)


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
) -> ScanMessage:
    """Return a scan to be mailed; arguments that are None are taken from the section ``[scan]``.

    Raises:
        InputError: a pattern cannot be used, or there are no recipients or too many.
    """
    section = device.settings(SECTION)
    check_recipients(len(to) + len(cc), section)
    subject = section["subject"] if subject is None else subject
    name = section["name"] if name is None else name
    patterns = Pattern(subject or "", "subject"), None if name is None else Pattern(name, "file name")
    if counter is None and any(pattern is not None and pattern.uses("counter") for pattern in patterns):
        counter = await next_scan_number(device)
    scanned_at = datetime.fromtimestamp(device.now() if at is None else at).astimezone()
    return ScanMessage(
        documents=documents,
        sender=sender_mailbox(device, settings),
        to=to,
        cc=cc,
        user=user,
        subject=patterns[0],
        text=section["text"] if text is None else text,
        name=patterns[1],
        values=_placeholder_values(device, user) | ({} if counter is None else {"counter": counter}),
        scanned_at=scanned_at,
    )


async def next_scan_number(device: Device) -> int:
    """Count a scan and return its number."""
    store = device.store(PIPELINE)
    number = int(await store.get(_COUNTER, 0)) + 1
    await store.put(_COUNTER, number)
    return number


async def current_size_limit(device: Device, settings: Settings) -> int:
    """Return the most octets that a mail may have, as far as that is known now."""
    return size_limit(await _announced_size(device, settings), settings, device.settings(SECTION))


async def _announced_size(device: Device, settings: Settings) -> int | None:
    """Return the SIZE from the last delivery, else from the last connection test; None if there was neither."""
    if (size := await announced_size(device.spool, RECORD, settings.server)) is not None:
        return size
    changed = await to_thread.run_sync(_modified_at, device.records.settings.path)
    for last_test in await History(device.home).last(RECORD, limit=1):
        if last_test.at < changed:
            # The test may have been of another server.
            break
        found = [match for line in last_test.transcript if (match := _SIZE_KEYWORD.match(line))]
        if found:
            return int(found[-1][1] or 0)
    return None


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


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

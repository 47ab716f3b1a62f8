"""What scans by command and scans from a folder have in common: the sender, the names, the limit."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from mailslot.diagnosis.history import History
from mailslot.errors import InputError
from mailslot.service.server_limits import announced_size
from mailslot_plugins.scan.compose import ScanMessage
from mailslot_plugins.scan.limits import size_limit
from mailslot_plugins.scan.names import Pattern
from mailslot_plugins.scan.section import SCAN
from mailslot_plugins.scan.submission import PIPELINE
from mailslot_plugins.sending.account import RECORD, sender_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot_plugins.scan.document import Document

_COUNTER: Final = "counter"
_SIZE: Final = re.compile(r"S: 250[ -]SIZE(?: (\d{1,15}))?", re.IGNORECASE)


async def scan_message(
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
    """Return a scan that is to be mailed; what is None is as the section ``[scan]`` says.

    Raises:
        InputError: a pattern cannot be used, nobody is to receive it, or too many are.
    """
    section = device.settings(SCAN)
    check_recipients(len(to) + len(cc), section)
    subject = section["subject"] if subject is None else subject
    name = section["name"] if name is None else name
    patterns = Pattern(subject or "", "subject"), None if name is None else Pattern(name, "file name")
    if counter is None and any(pattern is not None and pattern.uses("counter") for pattern in patterns):
        counter = await next_number(device)
    moment = datetime.fromtimestamp(device.now() if at is None else at).astimezone()
    return ScanMessage(
        documents=documents,
        sender=sender_of(device, settings),
        to=to,
        cc=cc,
        user=user,
        subject=patterns[0],
        text=section["text"] if text is None else text,
        name=patterns[1],
        values=_values(device, user) | ({} if counter is None else {"counter": counter}),
        moment=moment,
    )


async def next_number(device: Device) -> int:
    """Return the next number of a scan."""
    store = device.store(PIPELINE)
    number = int(await store.get(_COUNTER, 0)) + 1
    await store.put(_COUNTER, number)
    return number


async def limit_of(device: Device, settings: Settings) -> int:
    """Return the most octets that a mail may have, as far as is known now."""
    return size_limit(await _announced(device, settings), settings, device.settings(SCAN))


async def _announced(device: Device, settings: Settings) -> int | None:
    """Return what the mail server said last, when mail was delivered or else tested; None where it was not heard."""
    if (size := await announced_size(device.spool, RECORD, settings.server)) is not None:
        return size
    changed = await to_thread.run_sync(_changed_at, device.records.settings.path)
    for past in await History(device.home).last(RECORD, most=1):
        if past.at < changed:
            # It may have been another server.
            break
        found = [match for line in past.transcript if (match := _SIZE.match(line))]
        if found:
            return int(found[-1][1] or 0)
    return None


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def check_recipients(count: int, section: Mapping[str, Any]) -> None:
    """Refuse a number of recipients that is not allowed.

    Raises:
        InputError: there are none, or too many.
    """
    if not count:
        raise InputError("Nobody is to receive the scan: say to whom with --to.", stage="envelope")
    if count > section["max_recipients"]:
        raise InputError(
            f"The scan has {count} recipients, and at most {section['max_recipients']} are allowed. Nothing was sent.",
            stage="envelope",
        )


def _values(device: Device, user: Mailbox | None) -> dict[str, str | int]:
    identity = device.identity
    return {
        "device": identity.name or identity.model or "the scanner",
        "model": identity.model,
        "serial": identity.serial_number,
        "location": identity.location,
        "user": "" if user is None else user.name or user.address.rpartition("@")[0],
    }

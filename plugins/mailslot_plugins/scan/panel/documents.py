"""Documents that the panel and the API hand over to be sent as a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot_plugins.scan.section import SECTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.api.json_schema import Schema
    from mailslot_plugins.sending.submission import Submission, SubmittedDocument

fields: Final[dict[str, Schema]] = {
    "cc": {"type": "array", "items": {"type": "string"}, "description": "Recipients in copy."},
    "text": {"type": "string", "description": "The text of the mail."},
    "user": {"type": "string", "description": "The address of the person who scans, who gets the replies."},
    "delay": {"type": "string", "description": "When it is sent: at a time such as 22:00, or after 90m, 2h or 1d."},
    "split": {"enum": ["true", "false"], "description": "Whether a large scan becomes several mails."},
}
"""The fields of a scan, besides those that all documents have."""


def can_acquire(device: Device) -> bool:
    """Return whether a scanner is set up."""
    return device.settings(SECTION)["scanner"] is not None


async def acquire(
    device: Device, submission: Submission, progress: Callable[[int, float], None]
) -> list[SubmittedDocument]:
    """Scan the pages in the scanner that is set up into a PDF file."""
    from mailslot_plugins.scan.submit import acquire_documents  # noqa: PLC0415 - an idle service does not need it

    return await acquire_documents(device, submission, progress)


async def send(device: Device, submission: Submission) -> list[Job]:
    """Put documents into the spool as a scan."""
    from mailslot_plugins.scan.submit import submit_scan  # noqa: PLC0415 - an idle service does not need it

    return await submit_scan(device, submission)

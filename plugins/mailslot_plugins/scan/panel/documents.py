"""Documents that the panel and the API hand over to be sent as a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.api.json_schema import Schema
    from mailslot_plugins.sending.submission import Submission

fields: Final[dict[str, Schema]] = {
    "cc": {"type": "array", "items": {"type": "string"}, "description": "Recipients in copy."},
    "text": {"type": "string", "description": "The text of the mail."},
    "user": {"type": "string", "description": "The address of the person who scans, who gets the replies."},
    "delay": {"type": "string", "description": "When it is sent: at a time such as 22:00, or after 90m, 2h or 1d."},
    "split": {"enum": ["true", "false"], "description": "Whether a large scan becomes several mails."},
}
"""The fields of a scan, besides those that all documents have."""


async def send(device: Device, submission: Submission) -> list[Job]:
    """Put documents into the spool as a scan."""
    from mailslot_plugins.scan.submit import submit_scan  # noqa: PLC0415 - an idle service does not need it

    return await submit_scan(device, submission)

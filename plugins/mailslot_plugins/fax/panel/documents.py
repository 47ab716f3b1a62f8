"""Documents that the panel and the API hand over to be sent as a fax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.api.json_schema import Schema
    from mailslot_plugins.sending.submission import Submission

fields: Final[dict[str, Schema]] = {
    "user": {"type": "string", "description": "The address of the person who sends, who gets the replies."},
    "delay": {"type": "string", "description": "When it is sent: at a time such as 22:00, or after 90m, 2h or 1d."},
    "confirm": {"enum": ["true", "false"], "description": "Whether reports of delivery and printing are requested."},
}
"""The fields of a fax, besides those that all documents have."""


async def send(device: Device, submission: Submission) -> list[Job]:
    """Put documents into the spool as one fax."""
    # An idle service does not need them.
    from mailslot_plugins.addressbook.lookup import expand_name, expand_names  # noqa: PLC0415
    from mailslot_plugins.fax.enqueue import enqueue_fax, parse_recipients  # noqa: PLC0415
    from mailslot_plugins.rules.delay import parse_delay  # noqa: PLC0415
    from mailslot_plugins.sending.account import sending_settings  # noqa: PLC0415
    from mailslot_plugins.sending.recipients import parse_mailbox  # noqa: PLC0415

    settings = await sending_settings(device)
    user, delay = submission.text("user"), submission.text("delay")
    job = await enqueue_fax(
        device,
        settings,
        [document.path for document in submission.documents],
        submission.folder,
        to=parse_recipients(await expand_names(device, submission.texts("to"), fax=True)),
        subject=submission.text("subject"),
        user=None if user is None else parse_mailbox(await expand_name(device, user), "user's"),
        delay=None if delay is None else parse_delay(delay),
        confirm=submission.flag("confirm"),
        request=submission.request,
    )
    return [job]

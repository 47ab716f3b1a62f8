"""Scanning documents for a form: a background task whose progress a page shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError, MailError
from mailslot_plugins.panel.background import BackgroundTask, tasks_of
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.render import device_of
from mailslot_plugins.panel.send.acceptance import accept_documents, field_of, make_submission

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.send.reception import Received
    from mailslot_plugins.panel.send.senders import DocumentSender

_KEY: Final = ("send", "acquire")


@dataclass(eq=False, slots=True)
class ScanNow:
    """A scan for a form.

    Attributes:
        device: the device.
        sender: the pipeline that scans and sends.
        received: the fields of the form; the documents are added to it.
        page: the page that is being scanned; 0 before the first.
        fraction: the scanned part of it, 0.0 to 1.0.
        job: the job that it has become; None before that.
        error: the error; None if it has not failed.
    """

    device: Device
    sender: DocumentSender
    received: Received
    page: int = 0
    fraction: float = 0.0
    job: Job | None = None
    error: ProblemError | MailError | None = None

    @property
    def error_key(self) -> str:
        """The field at fault; empty if there is none."""
        if isinstance(self.error, InputError):
            return field_of(self.error)
        return self.error.key if isinstance(self.error, ProblemError) else ""

    def update(self, page: int, fraction: float) -> None:
        """Store the progress of the scanner."""
        self.page, self.fraction = page, fraction


def find_scan(request: Request) -> BackgroundTask[ScanNow] | None:
    """Return the newest scan; None if there was none."""
    return tasks_of(request.app.state).find(_KEY, ScanNow)


def start_scan(request: Request, sender: DocumentSender, received: Received) -> bool:
    """Start a scan, and return True; return False while another one is running."""
    task = find_scan(request)
    if task is not None and task.running:
        return False
    tasks_of(request.app.state).start(_KEY, ScanNow(device_of(request), sender, received), _run)
    return True


async def _run(scan: ScanNow) -> None:
    acquire = scan.sender.acquire
    try:
        async with scan.device.working_folder() as folder:
            if acquire is not None:
                submission = make_submission(scan.sender, scan.received, folder, None)
                scan.received.documents += await acquire(scan.device, submission, scan.update)
            scan.job = (await accept_documents(scan.device, scan.received, folder, None))[0]
    except (ProblemError, MailError) as error:
        scan.error = error

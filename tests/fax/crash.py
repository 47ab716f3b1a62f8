"""A fax machine that is killed at every step, and what must hold afterwards: each fax arrived once, everywhere.

Run by `test_crash` as a process of its own, since it forks: ``python crash.py WHAT FOLDER BACKEND``.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from child_process import fork_child, kill_at, wait_for_exit
from fax.faxes import ALICE, FAX, fax_device, files_in, make_mail, pages_of_pdf, store_incoming
from mailslot.service.pipeline import Done, SetAside
from mailslot.spool.folder import files
from mailslot.spool.spool import Spool
from mailslot.spool.store import Store
from mailslot_plugins.fax import reception, sender_notification
from mailslot_plugins.fax.pipeline import pipeline
from mailslot_plugins.printers import folder as folder_printer
from shared_fork_server import share_fork_server

if TYPE_CHECKING:
    from mailslot.service.pipeline import Handled

KILLED = -signal.SIGKILL
SETTINGS = (
    'deliver_to = "folder fax; printer folder {place}/out; mail bob@office.test"\n'
    f'allowed_senders = "{ALICE}"\nreceipts = true'
)
RECEIPT_REQUEST = {"Disposition-Notification-To": ALICE}
MAILS = {
    "printed": make_mail(FAX, fields=RECEIPT_REQUEST),
    "not printed": make_mail(FAX, b"PK\3\4", fields=RECEIPT_REQUEST),
}


def handle(place: Path, octets: bytes, backend: str) -> Handled:
    async def work() -> Handled:
        async with fax_device(place / "home", SETTINGS.format(place=place)) as device:
            return await pipeline.handle(store_incoming(octets, place), device)

    return anyio.run(work, backend=backend)


def check(place: Path, what: str, backend: str) -> None:
    """The fax, or the notice, is in both folders and in a mail, and the receipt was sent: each once."""

    async def jobs() -> list[tuple[str, str]]:
        async with Spool(place / "home") as spool:
            return sorted((job.pipeline, job.recipients[0].address) for job in await spool.jobs())

    for folder in (place / "home" / "fax", place / "out"):
        found = files_in(folder)
        assert len(found) == 1, found
        assert len(pages_of_pdf(found[0])) == (2 if what == "printed" else 1)
    found = anyio.run(jobs, backend=backend)
    assert found == [("fax", "bob@office.test"), ("fax-answers", ALICE)], found


def killed_at_each_step(folder: Path, what: str, backend: str) -> int:
    """SIGKILL at the n-th of all steps that leave something behind, for every n; returns how many there are."""
    for step in range(100):
        place = folder / f"{what} {step}"
        (place / "out").mkdir(parents=True)

        def work(place: Path = place, step: int = step) -> None:
            kill_at(step, STEP_FUNCTIONS)
            handle(place, MAILS[what], backend)

        ended = wait_for_exit(fork_child(work))
        assert ended in {0, KILLED}, ended
        result = handle(place, MAILS[what], backend)
        assert isinstance(result, Done if what == "printed" else SetAside), result
        check(place, what, backend)
        if ended == 0:
            return step
    raise AssertionError("it does not end")


STEP_FUNCTIONS = (
    (files.NewFile, "commit"),
    (files.NewFile, "_close"),
    (Store, "put"),
    (Store, "run"),
    (Spool, "accept"),
    (Path, "replace"),
    (folder_printer.os, "fsync"),
    (reception, "deliver"),
    (sender_notification, "count_reply"),
)


if __name__ == "__main__":
    share_fork_server()
    steps = killed_at_each_step(Path(sys.argv[2]), sys.argv[1], sys.argv[3])
    assert steps >= 15, steps
    print(f"killed at {steps} steps")

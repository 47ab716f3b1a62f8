"""A process that is killed while it polls by IMAP, at every step; then mailbox and ledger are checked.

Run by `test_imap_crash`: ``python imap_crash.py FOLDER``, the folder of a device that polls a Dovecot, which lives
through all of it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from child_process import fork_child, wait_for_exit
from mailslot.service import poll_plan
from mailslot.spool.incoming_file import IncomingFile
from mailslot.spool.ledger import Ledger
from mailslot_imap.dialogue import ImapDialogue
from mailslot_imap.session import ImapSession
from service import poll_crash
from service.polling_device import mail

MAILDIR = "maildir"
"""The file in the folder that says where the mailbox is."""


class Mailbox:
    """Alice's mailbox, as it lies on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._delivered = 0

    def add(self, *names: str) -> None:
        for name in names:
            self._delivered += 1
            partial = self._folder / "tmp" / f"{self._delivered:06}.lab"
            partial.write_bytes(mail(name, size=100_000))
            partial.chmod(0o644)
            partial.rename(self._folder / "new" / partial.name)

    def listing(self) -> list[str]:
        files = [*self._folder.glob("new/*"), *self._folder.glob("cur/*")]
        return [poll_crash.subject(file.read_bytes()) for file in files]


STEPS = (
    (ImapDialogue, "execute", "command"),
    (ImapSession, "listing", "listing"),
    (ImapSession, "delete", "marking"),
    (Ledger, "mark_deleted", "deletion noted"),
    (IncomingFile, "write", "piece"),
    (IncomingFile, "commit", "recording"),
)
MOMENTS = (
    # CAPABILITY twice, SELECT, and what commits: STORE and EXPUNGE.
    *(("command ended", number) for number in range(3, 6)),
    ("command begun", 5),
    ("listing ended", 1),
    ("piece ended", 2),
    ("recording begun", 1),
    ("recording ended", 1),
    ("recording ended", 2),
    ("marking ended", 1),
    ("deletion noted ended", 1),
)


def main(folder: str) -> None:
    home, names = Path(folder), list[str]()
    poll_plan._BATCH_MAILS = 2
    mailbox = Mailbox(Path((home / MAILDIR).read_text()))
    poll_crash.STEPS = STEPS
    for round_, (moment, number) in enumerate(MOMENTS):
        new = [f"{round_}-{n}" for n in range(3)]
        names += new
        mailbox.add(*new)
        ended = wait_for_exit(fork_child(lambda moment=moment, number=number: poll_crash.doomed(home, moment, number)))
        assert ended == -signal.SIGKILL, (moment, number, ended)
        check = poll_crash.run(poll_crash.check, home, mailbox.listing(), names, ended=False)
        assert wait_for_exit(fork_child(check)) == 0, (moment, number)
    poll_crash.finish(home, mailbox, names)


if __name__ == "__main__":
    main(*sys.argv[1:])

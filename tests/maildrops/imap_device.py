"""A device whose fax slot polls a Dovecot by IMAP."""

from __future__ import annotations

import imaplib
import re
import shutil
import ssl
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.users import PASSWORD
from mailslot.service.device import Device
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import trustme

    from lab.dovecot import Dovecot
    from lab.provider import Provider

ALICE = "alice@example.test"
RECORD = "fax-pop"


@dataclass
class ImapDevice:
    """A device and the Dovecot that it polls.

    Attributes:
        home: the device's home folder.
        dovecot: its mail server.
        token: what signs in there.
        records: its settings.
    """

    home: Path
    dovecot: Dovecot
    token: str
    records: Records

    def set(self, **settings: object) -> None:
        self.records.change(RECORD, settings, {})

    def folder(self, name: str) -> Path:
        """Make a folder beside the inbox; its path on the disk."""
        folder = self.dovecot.maildir(ALICE) / f".{name}"
        for kind in ("new", "cur", "tmp"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, self.dovecot.owner, self.dovecot.owner)
        return folder

    @contextmanager
    def another_client(self, folder: str = "INBOX") -> Iterator[imaplib.IMAP4_SSL]:
        """Another client, which has opened a folder; it blocks."""
        context = ssl.create_default_context(cafile=str(self.home / "ca.pem"))
        with imaplib.IMAP4_SSL("localhost", self.dovecot.imaps.port, ssl_context=context, timeout=120) as client:
            client.login(ALICE, PASSWORD)
            client.select(folder)
            yield client

    def expunge(self) -> None:
        """Delete all mail, as another client does."""
        with self.another_client() as client:
            client.store("1:*", "+FLAGS.SILENT", "\\Deleted")
            client.expunge()

    def renumber(self) -> None:
        """Have Dovecot forget the numbers that it gave to its mails, and give them under another UIDVALIDITY."""
        maildir = self.dovecot.maildir(ALICE)
        numbers = maildir / "dovecot-uidlist"
        before = re.match(r"3 V(\d+)", numbers.read_text()) if numbers.exists() else None
        for file in maildir.glob("dovecot*"):
            file.unlink()
        if before is not None:
            numbers.write_text(f"3 V{int(before[1]) + 1} N1 G{uuid.uuid4().hex}\n")
            shutil.chown(numbers, self.dovecot.owner, self.dovecot.owner)

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Device]:
        async with Spool(self.home) as spool, Connector(self.records) as connector:
            yield Device(self.records, connector, spool)


def open_imap_device(
    home: Path, dovecot: Dovecot, provider: Provider, ca: trustme.CA, *, record: str = RECORD, **settings: object
) -> ImapDevice:
    """Set a device up, and empty Alice's mailbox."""
    home.mkdir(parents=True, exist_ok=True)
    ca.cert_pem.write_to_path(str(home / "ca.pem"))
    token = provider.token(ALICE)
    (home / "token").write_text(token)
    for folder in dovecot.maildir(ALICE).glob(".*"):
        shutil.rmtree(folder)
    dovecot.empty(ALICE)
    imap_device = ImapDevice(home, dovecot, token, Records(home))
    # Its list of files may be a moment behind.
    imap_device.renumber()
    values = {
        "server": "localhost",
        "port": dovecot.imaps.port,
        "security": "tls",
        "maildrop": "imap",
        "authentication": "oauth2",
        "account": ALICE,
        "token_source": f"file {home / 'token'}",
        "ca_file": str(home / "ca.pem"),
        "first_poll": "all",
    }
    imap_device.records.change(record, {**values, **settings}, {})
    return imap_device

"""Dovecot: POP3 and IMAP with both TLS modes, and the SASL server that Postfix asks."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab.process import free_ports, running, wait_until
from lab.template import write_settings
from lab.users import PASSWORD, USERS, name
from mailslot.net.endpoint import Endpoint, Security

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trustme import LeafCert

    from lab.provider import Provider

BINARY = Path("/usr/sbin/dovecot")


@dataclass(frozen=True)
class Dovecot:
    """A running Dovecot.

    Attributes:
        pop3: where POP3 is spoken, with STLS.
        pop3s: where POP3 is spoken over TLS.
        plain: where POP3 is spoken, without TLS.
        imap: where IMAP is spoken, with STARTTLS.
        imaps: where IMAP is spoken over TLS.
        sasl: the socket where Postfix asks who may sign in.
        mail: the folder of all maildirs.
        owner: the system user that owns the maildirs.
        log: what it wrote.
        queues: where mail is on its way to it.
    """

    pop3: Endpoint
    pop3s: Endpoint
    plain: Endpoint
    imap: Endpoint
    imaps: Endpoint
    sasl: Path
    mail: Path
    owner: str
    log: Path
    queues: list[Path] = field(default_factory=list, compare=False)

    def maildir(self, user: str) -> Path:
        """The folder of a user's mail; its mail is in ``new`` and ``cur``, a file each."""
        return self.mail / name(user)

    def deliver(self, user: str, message: bytes) -> None:
        """Put a message into a user's mailbox, without a server between."""
        file = self.maildir(user) / "new" / f"{time.time_ns()}.{uuid.uuid4().hex}.lab"
        partial = self.maildir(user) / "tmp" / file.name
        partial.write_bytes(message)
        partial.chmod(0o644)
        partial.rename(file)

    def messages(self, user: str) -> list[bytes]:
        """All mail of a user as it lies on the disk, the oldest first."""
        return [file.read_bytes() for file in self._files(user)]

    def empty(self, user: str) -> None:
        """Remove all mail of a user, also what is still on its way."""
        wait_until(lambda: not any(each.is_file() for queue in self.queues for each in queue.rglob("*")))
        for file in self._files(user):
            file.unlink(missing_ok=True)

    def _files(self, user: str) -> list[Path]:
        files = [*self.maildir(user).glob("new/*"), *self.maildir(user).glob("cur/*")]
        return sorted(files, key=lambda file: file.name)

    def log_text(self) -> str:
        """What it has logged so far."""
        return self.log.read_text()


@contextmanager
def start_dovecot(folder: Path, provider: Provider, certificate: LeafCert, *, more: str = "") -> Iterator[Dovecot]:
    """Run Dovecot, as its own system user where the tests run as root.

    Args:
        folder: an empty folder of its own, which that user can reach.
        provider: whose tokens it takes.
        certificate: for ``localhost``.
        more: settings besides the usual ones.
    """
    root = os.geteuid() == 0
    owner = "dovecot" if root else getpass.getuser()
    pop3, pop3s, imap, imaps = free_ports(4)
    values = {
        "folder": folder,
        "user": owner,
        "password": PASSWORD,
        "pop3": pop3,
        "pop3s": pop3s,
        "imap": imap,
        "imaps": imaps,
        "issuer": provider.issuer,
        "address": provider.issuer.removeprefix("http://"),
        "keys": provider.keys,
    }
    folder.mkdir()
    (folder / "server.pem").write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    write_settings(language(), folder, values)
    with (folder / "dovecot.conf").open("a") as settings:
        settings.write(more)
    for user in USERS:
        for kind in ("new", "cur", "tmp"):
            (folder / "mail" / user / kind).mkdir(parents=True)
    if root:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, owner, owner)
    log = folder / "dovecot.log"
    command: list[str | Path] = [BINARY, "-F", "-c", folder / "dovecot.conf"]
    with running(command, ports=[pop3, pop3s, imap, imaps], log=log, user=owner if root else None):
        yield Dovecot(
            pop3=Endpoint("localhost", pop3, Security.STARTTLS),
            pop3s=Endpoint("localhost", pop3s, Security.TLS),
            plain=Endpoint("localhost", pop3, Security.NONE),
            imap=Endpoint("localhost", imap, Security.STARTTLS),
            imaps=Endpoint("localhost", imaps, Security.TLS),
            sasl=folder / "run" / "postfix",
            mail=folder / "mail",
            owner=owner,
            log=log,
        )


def language() -> str:
    """The folder of settings that the installed Dovecot understands."""
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    return "dovecot-2.3" if version.startswith("2.3.") else "dovecot-2.4"

"""Postfix: submission with both TLS modes, delivering into Dovecot's maildirs."""

from __future__ import annotations

import os
import pwd
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.process import free_ports, running
from lab.template import write_settings
from lab.users import DOMAIN, USERS
from mailslot.net.endpoint import Endpoint, Security

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trustme import LeafCert

    from lab.dovecot import Dovecot

BINARY = Path("/usr/lib/postfix/sbin/master")

QUEUES = "active bounce corrupt defer deferred flush hold incoming private saved trace public maildrop"


@dataclass(frozen=True)
class Postfix:
    """A running Postfix.

    It refuses ``nobody@example.test`` with 554 and defers ``later@example.test`` with 450; whoever signs
    in may send as itself alone; mail to ``full.test`` is returned, and mail to any other domain than ours is taken and
    thrown away.

    Attributes:
        submission: where mail is submitted, with STARTTLS.
        submissions: where mail is submitted over TLS.
        plain: where mail for our own domain is taken without TLS and sign-in.
        size_limit: the most octets that a message may have.
        log: what it wrote.
    """

    submission: Endpoint
    submissions: Endpoint
    plain: Endpoint
    size_limit: int
    log: Path

    def log_text(self) -> str:
        """What it has logged so far."""
        return self.log.read_text()


@contextmanager
def start_postfix(
    folder: Path, dovecot: Dovecot, certificate: LeafCert, *, size_limit: int = 2**20
) -> Iterator[Postfix]:
    """Run Postfix, which takes root.

    Args:
        folder: an empty folder of its own, which the system user ``postfix`` can reach.
        dovecot: who knows who may sign in, and whose maildirs it delivers into.
        certificate: for ``localhost``.
        size_limit: the most octets that a message may have.
    """
    submission, submissions, plain = free_ports(3)
    owner = pwd.getpwnam(dovecot.owner)
    settings = folder / "etc"
    values = {
        "folder": folder,
        "settings": settings,
        "domain": DOMAIN,
        "mail": dovecot.mail,
        "uid": owner.pw_uid,
        "gid": owner.pw_gid,
        "sasl": dovecot.sasl,
        "size_limit": size_limit,
        "submission": submission,
        "submissions": submissions,
        "plain": plain,
    }
    settings.mkdir(parents=True)
    write_settings("postfix", settings, values)
    (settings / "server.pem").write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    (settings / "mailboxes").write_text("".join(f"{user}@{DOMAIN} {user}/\n" for user in USERS))
    # Postfix waits until a settings file is some seconds old, for somebody may still be writing it.
    for file in settings.iterdir():
        os.utime(file, (time.time() - 60,) * 2)
    make_queues(folder)
    log = folder / "postfix.log"
    environment = {**os.environ, "MAIL_CONFIG": str(settings)}
    ports = [submission, submissions, plain]
    queues = [folder / "spool" / name for name in ("incoming", "active")]
    with running([BINARY], ports=ports, log=folder / "console.log", environment=environment):
        dovecot.queues.extend(queues)
        yield Postfix(
            submission=Endpoint("localhost", submission, Security.STARTTLS),
            submissions=Endpoint("localhost", submissions, Security.TLS),
            plain=Endpoint("localhost", plain, Security.NONE),
            size_limit=size_limit,
            log=log,
        )
    for queue in queues:
        dovecot.queues.remove(queue)


def make_queues(folder: Path) -> None:
    """Make the folders of the queue as ``postfix start`` does, which takes two seconds for it."""
    (folder / "data").mkdir()
    shutil.chown(folder / "data", "postfix")
    (folder / "spool").mkdir()
    (folder / "spool" / "pid").mkdir()
    for queue in QUEUES.split():
        path = folder / "spool" / queue
        path.mkdir(mode=0o700)
        shutil.chown(path, "postfix", "postdrop" if queue in {"maildrop", "public"} else None)
    (folder / "spool" / "maildrop").chmod(0o730)
    (folder / "spool" / "public").chmod(0o710)

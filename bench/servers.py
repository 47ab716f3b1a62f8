"""The servers that all clients are measured on, each started when it is first needed."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import trustme

sys.path += [str(Path(__file__).parent.parent / folder) for folder in ("tests", "transport")]

from bench.task import Task, message
from lab import dovecot, postfix
from lab.process import free_ports, running
from lab.users import DOMAIN, PASSWORD

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from lab.provider import Provider

HERE = Path(__file__).parent

SMALL, LARGE, EMPTY = "alice", "bob", "carol"
MAILBOXES = {SMALL: (2_000, 4_096), LARGE: (40, 2_000_000), EMPTY: (0, 0)}


class MissingError(Exception):
    """A server is not installed."""


class Servers:
    """The sink, Postfix and Dovecot, and lines of any delay to them.

    Attributes:
        ca: the file with the authority that their certificate comes from.
        everybody: the same among the system's own ones.
    """

    def __init__(self, folder: Path, scale: float) -> None:
        self._folder = folder
        self._scale = scale
        self._stack = ExitStack()
        self._lines: dict[tuple[int, float], int] = {}
        authority = trustme.CA()
        self._certificate = authority.issue_cert("localhost", "127.0.0.1")
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.everybody = folder / "everybody.pem"
        system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
        self.everybody.write_bytes(Path(system).read_bytes() + self.ca.read_bytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def at(self, task: Task, server: str, delay: float) -> None:
        """Fill in where a task finds its server, `delay` seconds away, and who signs in."""
        if server == "sink":
            port = self._sink[task.security]
        elif server == "postfix" and task.security == "none":
            # Without sign-in, it takes mail for its own users alone.
            port, task.recipient = self._postfix.plain.port, f"daemon@{DOMAIN}"
        elif server == "postfix":
            port = {"starttls": self._postfix.submission, "tls": self._postfix.submissions}[task.security].port
            task.user, task.password = f"daemon@{DOMAIN}", PASSWORD
        else:
            port = {"none": self._dovecot.plain, "tls": self._dovecot.pop3s}[task.security].port
            task.user, task.password = f"{server}@{DOMAIN}", PASSWORD
        task.port = self._line(port, delay) if delay else port
        task.ca = str(self.ca)

    def _run(self, script: str, ports: list[int], *arguments: object) -> None:
        command = [sys.executable, HERE / script, *map(str, arguments)]
        self._stack.enter_context(running(command, ports=ports, log=self._folder / f"{script}.log"))

    def _line(self, port: int, delay: float) -> int:
        if (port, delay) not in self._lines:
            (near,) = free_ports(1)
            self._run("line.py", [near], near, port, delay)
            self._lines[port, delay] = near
        return self._lines[port, delay]

    @cached_property
    def _sink(self) -> dict[str, int]:
        certificate = self._folder / "server.pem"
        self._certificate.private_key_and_cert_chain_pem.write_to_path(certificate)
        ports = free_ports(3)
        self._run("sink.py", ports, *ports, certificate)
        return dict(zip(("none", "starttls", "tls"), ports, strict=True))

    @cached_property
    def _dovecot(self) -> dovecot.Dovecot:
        if not dovecot.BINARY.exists():
            raise MissingError("Dovecot")
        # Nobody signs in with a token here.
        nobody = cast("Provider", SimpleNamespace(issuer="http://127.0.0.1:9", keys=self._folder / "keys"))
        server = self._stack.enter_context(dovecot.start_dovecot(self._folder / "dovecot", nobody, self._certificate))
        for user, (count, size) in MAILBOXES.items():
            for _ in range(int(count * self._scale)):
                server.deliver(user, message(size))
            if os.geteuid() == 0:
                for path in server.maildir(user).rglob("*"):
                    shutil.chown(path, server.owner)
        return server

    @cached_property
    def _postfix(self) -> postfix.Postfix:
        if not postfix.BINARY.exists() or os.geteuid() != 0:
            raise MissingError("Postfix, or root to run it")
        folder = self._folder / "postfix"
        server = self._stack.enter_context(postfix.start_postfix(folder, self._dovecot, self._certificate))
        settings = folder / "etc" / "main.cf"
        # It would let each client wait while mail comes in faster than it leaves.
        settings.write_text(settings.read_text() + "in_flow_delay = 0\n")
        os.utime(settings, (time.time() - 60,) * 2)
        return server

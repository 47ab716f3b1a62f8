"""The servers for all clients, each started when it is first needed."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import time
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import trustme

from bench.task import Task, message

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / folder) for folder in ("tests", "transport")]

from lab import dovecot, postfix  # noqa: E402 - the lab of the tests is no package of ours
from lab.process import free_ports, running  # noqa: E402
from lab.users import DOMAIN, PASSWORD  # noqa: E402

if TYPE_CHECKING:
    from contextlib import ExitStack

    from lab.provider import Provider

SMALL, LARGE, EMPTY = "alice", "bob", "carol"
MAILBOXES = {SMALL: (2_000, 4_096), LARGE: (40, 2_000_000), EMPTY: (0, 0)}


class MissingError(Exception):
    """A server is not installed."""


class Servers:
    """The sink, Postfix and Dovecot, and delay proxies in front of them; closing `stack` ends them all.

    Attributes:
        ca: the file with the authority of their certificate.
        all_authorities: the file with that authority and those of the system.
    """

    def __init__(self, folder: Path, scale: float, stack: ExitStack) -> None:
        self._folder, self._scale, self._stack = folder, scale, stack
        authority = trustme.CA()
        self._certificate = authority.issue_cert("localhost", "127.0.0.1")
        self.ca, self.all_authorities = folder / "ca.pem", folder / "all_authorities.pem"
        authority.cert_pem.write_to_path(self.ca)
        system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
        self.all_authorities.write_bytes(Path(system).read_bytes() + self.ca.read_bytes())

    def locate(self, task: Task, server: str, delay: float) -> None:
        """Set the server of a task, `delay` seconds away, and the credentials."""
        task.ca = str(self.ca)
        if server == "sink":
            task.port = self._sink[task.security]
        elif server == "postfix" and task.security == "none":
            # Without authentication, it accepts mail only for its own users.
            task.port, task.recipient = self.postfix_server.plain.port, f"daemon@{DOMAIN}"
        elif server == "postfix":
            task.port, task.user, task.password = self.postfix_server.submissions.port, f"daemon@{DOMAIN}", PASSWORD
        else:
            task.port, task.user, task.password = self.dovecot_server.pop3s.port, f"{server}@{DOMAIN}", PASSWORD
        if delay:
            task.port = self._delayed_port(task.port, delay)

    def wait_until_idle(self) -> None:
        """Wait until Postfix has no mail left, which would slow down the next client."""
        queues = [self._folder / "postfix" / "spool" / queue for queue in ("incoming", "active")]
        while any(queue.is_dir() and any(queue.iterdir()) for queue in queues):
            time.sleep(0.05)

    def _run(self, script: str, ports: list[int], *arguments: object) -> None:
        command = [sys.executable, HERE / script, *map(str, [*ports, *arguments])]
        self._stack.enter_context(running(command, ports=ports, log=self._folder / f"{script}.log"))

    @cache  # noqa: B019 - there is one of us
    def _delayed_port(self, port: int, delay: float) -> int:
        ports = free_ports(1)
        self._run("delay_proxy.py", ports, port, delay)
        return ports[0]

    @cached_property
    def _sink(self) -> dict[str, int]:
        certificate, ports = self._folder / "server.pem", free_ports(3)
        self._certificate.private_key_and_cert_chain_pem.write_to_path(certificate)
        self._run("sink.py", ports, certificate)
        return dict(zip(("none", "starttls", "tls"), ports, strict=True))

    @cached_property
    def dovecot_server(self) -> dovecot.Dovecot:
        if not dovecot.BINARY.exists():
            raise MissingError("Dovecot")
        # No client authenticates with a token here.
        no_provider = cast("Provider", SimpleNamespace(issuer="http://127.0.0.1:9", keys=self._folder / "keys"))
        server = self._stack.enter_context(
            dovecot.start_dovecot(self._folder / "dovecot", no_provider, self._certificate)
        )
        for user, (count, size) in MAILBOXES.items():
            for _ in range(int(count * self._scale)):
                server.deliver(user, message(size))
            for path in server.maildir(user).rglob("*") if os.geteuid() == 0 else ():
                shutil.chown(path, server.owner)
        return server

    @cached_property
    def postfix_server(self) -> postfix.Postfix:
        if not postfix.BINARY.exists() or os.geteuid() != 0:
            raise MissingError("Postfix, or root to run it,")
        folder = self._folder / "postfix"
        server = self._stack.enter_context(postfix.start_postfix(folder, self.dovecot_server, self._certificate))
        settings = folder / "etc" / "main.cf"
        # Otherwise it delays each client while mail comes in faster than it is delivered.
        settings.write_text(settings.read_text() + "in_flow_delay = 0\n")
        os.utime(settings, (time.time() - 60,) * 2)
        return server

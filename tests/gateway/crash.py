"""A gateway that is killed at each step of accepting messages, and what must hold afterwards.

Run by `test_crash` as a process of its own, since it forks: ``python crash.py FOLDER``. The device is in the parent: it
sends the same messages again after the restart, as devices do that got no reply.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from child_process import fork_child, wait_for_exit
from mailslot.net.endpoint import Security
from mailslot.net.listener import open_listener
from mailslot.service.device import open_device
from mailslot.slots.accounts import add_account
from mailslot.slots.gateway.entries import add_device, add_listener
from mailslot.slots.records import Records
from mailslot.smtp.server.server import SmtpServer
from mailslot.smtp.server.session import SessionSettings
from mailslot_plugins.gateway.gateway import open_gateway
from mailslot_plugins.gateway.submission import SubmissionBackend
from spool.crash import kill_at

if TYPE_CHECKING:
    from collections.abc import Sequence

BOB: Final = "bob@example.com"
BACKENDS: Final = ("asyncio", "trio")
ENVELOPE: Final = (b"MAIL FROM:<hall@copiers.example>", b"RCPT TO:<bob@example.com>")
MOST: Final = 500
"""Steps; a run has far fewer."""


def scan(name: str) -> bytes:
    """A message that is written in several pieces."""
    return f"Subject: {name}\r\n\r\n".encode() + (name.encode() * 99 + b"\r\n") * 4_000


MESSAGES: Final = {"one": scan("one"), "two": scan("two")}


class Gateway:
    """A gateway in a process of its own.

    Attributes:
        port: where it listens.
    """

    def __init__(self, home: Path, backend: str, *, killed_at: int = 0, recovers_late: bool = False) -> None:
        """Start it, to be killed at a step of what it does once it listens."""
        started, self._started = os.pipe()
        self._control, self._finish = os.pipe()
        work = partial(self._serve, home, killed_at, recovers_late)
        self._child = fork_child(partial(anyio.run, work, backend=backend))
        os.close(self._started)
        os.close(self._control)
        with os.fdopen(started, "rb") as pipe:
            self.port = int(pipe.readline())

    def kill(self) -> None:
        """Kill it, unless it was killed already."""
        os.kill(self._child, signal.SIGKILL)
        wait_for_exit(self._child)
        os.close(self._finish)

    def check(self, accepted: Sequence[str]) -> int:
        """Let it stop, and see that it has these jobs and nothing else; return its exit code."""
        os.write(self._finish, " ".join(accepted).encode())
        os.close(self._finish)
        return wait_for_exit(self._child)

    async def _serve(self, home: Path, killed_at: int, recovers_late: bool) -> None:
        os.close(self._finish)
        count_to = kill_at(0)
        async with open_device(Records(home)) as device, device.spool.delivery_lock():
            if not recovers_late:
                await device.spool.recover()
            gateway = await open_gateway(device)
            listener = await open_listener("scan", "127.0.0.1", 0)
            server = SmtpServer(listener, SessionSettings("gate", Security.NONE), SubmissionBackend(gateway))
            async with anyio.create_task_group() as group:
                group.start_soon(server.serve)
                os.write(self._started, b"%d\n" % listener.port)
                os.close(self._started)
                count_to(killed_at)
                await anyio.wait_readable(self._control)
                server.stop()
            await device.spool.recover()
            jobs = {str(job.id): job for job in await device.spool.jobs()}
            assert sorted(jobs) == sorted(os.read(self._control, 1_000).decode().split()), sorted(jobs)
            assert sorted(job.subject for job in jobs.values()) == sorted(MESSAGES), "lost, or accepted twice"
            for job in jobs.values():
                content = b"".join([piece async for piece in device.spool.content(job).chunks()])
                assert content.endswith(MESSAGES[job.subject].partition(b"\r\n\r\n")[2])
                assert job.notes["device"] == "hall"
            assert (await device.spool.recover()).files == 0
            left = [path.name for path in (home / "spool").iterdir() if path.suffix in {".job", ".new"}]
            assert len(left) == len(jobs), left


def send(port: int, name: str, *, chunked: bool) -> str:
    """Send a message; return the id of its job, empty if none was acknowledged."""
    content = MESSAGES[name]
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=300) as client:
        replies = client.makefile("rb")
        replies.readline()

        def say(octets: bytes) -> bytes:
            client.sendall(octets)
            while line := replies.readline():
                if line[3:4] == b" ":
                    assert line[:1] in b"23", line
                    return line
            raise ConnectionResetError

        for line in (b"EHLO hall", *ENVELOPE):
            say(line + b"\r\n")
        if chunked:
            say(b"BDAT 100000\r\n" + content[:100_000])
            reply = say(b"BDAT %d LAST\r\n" % (len(content) - 100_000) + content[100_000:])
        else:
            say(b"DATA\r\n")
            reply = say(content + b".\r\n")
        assert reply.startswith(b"250 2.0.0 queued as "), reply
        return reply.split()[-1].decode()
    return ""


def send_all(port: int) -> dict[str, str]:
    """Send all messages, the first of them once more; return the ids that were acknowledged, by name."""
    found = {name: send(port, name, chunked=name == "two") for name in MESSAGES}
    again = send(port, "one", chunked=True)
    assert again in {"", found["one"]}, "accepted twice"
    return found


def killed_at_every_step(folder: Path) -> None:
    """A gateway is killed at each step in turn, with a loop for each step, and then started again."""
    original = folder / "original"
    make_home(original)
    for step in range(1, MOST):
        home = folder / f"home-{step}"
        shutil.copytree(original, home)
        backend = BACKENDS[step % 2]
        gateway = Gateway(home, backend, killed_at=step)
        acknowledged = send_all(gateway.port)
        gateway.kill()
        # The listeners of the service do not wait for the recovery of its spool.
        restarted = Gateway(home, backend, recovers_late=step // 2 % 2 == 0)
        again = send_all(restarted.port)
        for name, job in acknowledged.items():
            assert job in {"", again[name]}, "an acknowledged message is gone, or another job"
        assert restarted.check(list(again.values())) == 0
        shutil.rmtree(home)
        if all(acknowledged.values()):
            print(f"{step - 1} steps")
            assert step > 20
            return
    raise AssertionError("the last step was never reached")


def make_home(home: Path) -> None:
    records = Records(home)
    add_account(records, "office", "SMTP")
    records.change("account.office", {"server": "localhost", "sender_address": "scans@example.com"}, {})
    add_listener(records, "scan", {"listen": "127.0.0.1:0", "security": "none"})
    add_device(records, "hall", {"via": "account.office", "address": ["127.0.0.1"]})


if __name__ == "__main__":
    # What the loops need is loaded once, not in each child.
    for each in BACKENDS:
        anyio.run(anyio.sleep, 0, backend=each)
    killed_at_every_step(Path(sys.argv[1]))

"""A device that polls the sandbox, and a pipeline that records the mails that it gets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailslot.service.device import Device
from mailslot.service.pipeline import Done
from mailslot.service.poller import poll_once
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import DOVECOT, Sandbox, run_sandbox
from service.sending_device import FastClocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from mailslot.service.pipeline import Handled
    from mailslot.service.poll_report import PollReport
    from mailslot.spool.incoming import Incoming
    from mailslot.spool.limits import SpoolLimits
    from mailslot_plugins.sandbox.maildrop import Maildrop, StoredMessage
    from mailslot_plugins.sandbox.personality import Personality

RECORD, USER = "status-pop", "status@example.com"


def mail(name: str, size: int = 0) -> bytes:
    """A mail that is like no other."""
    header = (
        "Received: from a.example by b.example; Tue, 24 Nov 2026 10:00:00 +0000\r\n"
        f"From: Alice <alice@example.com>\r\nSubject: {name}\r\nMessage-ID: <{name}@example.com>\r\n\r\n"
    )
    return header.encode() + b".line\r\n" * max(1, size // 7)


@dataclass
class RecordingPipeline:
    """A pipeline that notes what it was handed.

    Attributes:
        subjects: of the mails that it has handled.
        answer: what it says of each mail.
        abandon: how it undoes what it had begun with a mail.
    """

    subjects: list[str] = field(default_factory=list)
    answer: Callable[[Incoming, str], Awaitable[Handled]] | None = None
    abandon: Callable[[Incoming, Device], Awaitable[None]] | None = None
    name: str = "keeper"
    section: None = None
    polls: str = RECORD
    handles_at_once: int = 1

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        assert mail.path is not None
        subject = next(line for line in mail.path.read_text().splitlines() if line.startswith("Subject: "))[9:]
        if self.answer is not None:
            return await self.answer(mail, subject)
        self.subjects.append(subject)
        return Done(f"kept {subject}")

    async def run(self, device: Device) -> None:
        return


@dataclass
class PollingDevice:
    """A device, the sandbox that it polls, and its pipeline."""

    device: Device
    sandbox: Sandbox
    clocks: FastClocks
    keeper: RecordingPipeline = field(default_factory=RecordingPipeline)

    @property
    def maildrop(self) -> Maildrop:
        return self.sandbox.maildrops[USER]

    def add(self, *names: str, size: int = 0) -> list[StoredMessage]:
        return [self.maildrop.add(mail(name, size)) for name in names]

    async def poll(self, *, again: bool = False) -> PollReport:
        report = await poll_once(self.device, RECORD, self.keeper, retry_set_aside=again)
        assert not self.sandbox.errors
        return report

    def sign_in(self, user: str) -> None:
        """Let the device authenticate as another user."""
        write_token(self.sandbox, self.device.home, user)
        self.set(account=user)

    def set(self, **settings: object) -> None:
        self.device.records.change(RECORD, settings, {})

    @property
    def verbs(self) -> list[list[str]]:
        """The commands of each connection, after the sign-in."""
        found = []
        for dialogue in self.sandbox.dialogues:
            lines = [line.partition("C: ")[2] for line in str(dialogue.transcript).splitlines() if "C: " in line]
            verbs = [line.partition(" ")[0] for line in lines]
            found.append(verbs[verbs.index("LIST") :] if "LIST" in verbs else verbs)
        return found


def pop_settings(sandbox: Sandbox, home: Path) -> dict[str, object]:
    home.mkdir(parents=True, exist_ok=True)
    (home / "ca.pem").write_bytes(sandbox.ca_pem)
    write_token(sandbox, home, USER)
    return {
        "server": "localhost",
        "port": sandbox.pop3s.port,
        "security": "tls",
        "authentication": "oauth2",
        "token_source": f"file {home / 'token'}",
        "account": USER,
        "timeout": 60,
        "first_poll": "all",
        "ca_file": str(home / "ca.pem"),
    }


def write_token(sandbox: Sandbox, home: Path, user: str) -> None:
    (home / "token").write_text(sandbox.provider.issue(user).value.reveal())


@asynccontextmanager
async def run_polling_device(
    home: Path, personality: Personality = DOVECOT, *, limits: SpoolLimits | None = None, **settings: object
) -> AsyncIterator[PollingDevice]:
    async with run_sandbox(personality=personality) as sandbox:
        records = Records(home)
        records.change(RECORD, {**pop_settings(sandbox, home), **settings}, {})
        clocks = FastClocks()
        async with Spool(home, limits=limits, clock=clocks.wall) as spool, Connector(records) as connector:
            yield PollingDevice(
                Device(records, connector, spool, clocks=clocks.clocks, speed=clocks.speed), sandbox, clocks
            )
        assert not sandbox.errors

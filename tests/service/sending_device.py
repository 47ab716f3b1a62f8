"""A device that sends mail, with clocks of adjustable speed."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

import virtual_time
from mailslot.message import Message
from mailslot.oauth.timing import Clocks
from mailslot.service.device import Device
from mailslot.service.worker import Worker
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox import DOVECOT, Sandbox, run_sandbox
from mailslot_plugins.sandbox.state import RefusalRules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from mailslot.smtp.content import Content
    from mailslot.spool.job import Job, State
    from mailslot_plugins.sandbox.personality import Personality

OPEN = replace(DOVECOT, tls_required=False, sign_in_required=None)
"""A sandbox that wants neither TLS nor a sign-in."""

SENDER, ALICE = "scanner@example.com", "alice@example.com"


class FastClocks:
    """Clocks that run `speed` times as fast as the loop's; the wall clock can be set."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._loop = virtual_time.clock()
        self._began = self._loop()
        self._base = time.time()

    def monotonic(self) -> float:
        return 1000.0 + (self._loop() - self._began) * self.speed

    def wall(self) -> float:
        return self._base + (self._loop() - self._began) * self.speed

    def set(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._base += seconds

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=self.wall, monotonic=self.monotonic, sleep=lambda seconds: anyio.sleep(seconds / self.speed))


class SendingDevice:
    """A device with a worker.

    Attributes:
        device: the device.
        spool: its spool.
        worker: what delivers; `restart` makes another.
    """

    def __init__(self, device: Device, **options: Any) -> None:
        self.device = device
        self.spool = device.spool
        self._options = options
        self.worker = self.restart()

    def restart(self) -> Worker:
        self.worker = Worker(self.device, **{"random": lambda: 0.5, **self._options})
        return self.worker

    async def accept(
        self,
        *recipients: str,
        text: str = "Hello.",
        pipeline: str = "scan",
        via: str = "smtp",
        lifetime: float | None = 86_400.0,
        content: Content | None = None,
    ) -> Job:
        to = recipients or (ALICE,)
        message = content or Message(sender=SENDER, to=list(to)[:5], subject=text[:40], text=text)
        return await self.spool.accept(NewJob(pipeline, via, SENDER, to, text[:40], lifetime), message)

    async def job(self, job: Job) -> Job:
        return await self.spool.job(job.id)

    async def deliver_due(self) -> None:
        await self.worker.deliver_due()

    async def until(self, job: Job, *states: State, seconds: float = 120) -> Job:
        """Wait until a job is in one of these states."""
        with anyio.fail_after(seconds):
            while True:
                now = await self.spool.job(job.id)
                if now.state in states:
                    return now
                await anyio.sleep(0.02)

    async def until_true(self, test: Callable[[], object], seconds: float = 120) -> None:
        with anyio.fail_after(seconds):
            while not test():  # noqa: ASYNC110 - the sandbox tells nobody
                await anyio.sleep(0.01)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Run the worker while the block runs."""
        failure: BaseException | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self.worker.run)
            try:
                yield
            except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            await self.worker.stop()
            group.cancel_scope.deadline = anyio.current_time() + 120
        if failure is not None:
            raise failure


def sandbox_settings(sandbox: Sandbox) -> dict[str, object]:
    return {
        "server": "localhost",
        "port": sandbox.smtp.port,
        "security": "none",
        "sender_address": SENDER,
        "timeout": 60,
    }


def set_up(home: Path, settings: dict[str, object], *, password: str | None = None, record: str = "smtp") -> Records:
    """Set a record up as an administrator does."""
    records = Records(home)
    secrets = {} if password is None else {"password": Secret(password)}
    records.change(record, settings, secrets)
    return records


@asynccontextmanager
async def opened(records: Records, clocks: FastClocks | None = None, **options: Any) -> AsyncIterator[SendingDevice]:
    """A device that is open until the context is left."""
    clocks = clocks or FastClocks()
    connector = Connector(records, clocks=clocks.clocks)
    async with Spool(records.place, clock=clocks.wall) as spool, connector:
        device = Device(records, connector, spool, clocks=clocks.clocks, speed=clocks.speed)
        yield SendingDevice(device, **options)


@asynccontextmanager
async def run_sending_device(
    home: Path,
    clocks: FastClocks | None = None,
    *,
    personality: Personality = OPEN,
    sandbox: Sandbox | None = None,
    **options: Any,
) -> AsyncIterator[tuple[SendingDevice, Sandbox]]:
    """Run a device and the sandbox that it sends to: a given one, which is reset, or a new one."""
    async with AsyncExitStack() as stack:
        if sandbox is None:
            sandbox = await stack.enter_async_context(run_sandbox())
        sandbox.personality, sandbox.rules = personality, RefusalRules()
        for kept in (sandbox.faults, sandbox.submissions, sandbox.dialogues):
            kept.clear()
        records = set_up(home, sandbox_settings(sandbox))
        yield await stack.enter_async_context(opened(records, clocks, **options)), sandbox
        assert not sandbox.errors


def received(sandbox: Sandbox) -> list[tuple[str, tuple[str, ...]]]:
    """Return subject and recipients of every message that the server accepted."""
    return [(_subject(each.content), tuple(path.address for path in each.recipients)) for each in sandbox.submissions]


def _subject(content: bytes) -> str:
    return next(line for line in content.decode().splitlines() if line.startswith("Subject: "))[9:]


def states(jobs: Sequence[Job]) -> list[tuple[State, str | None]]:
    return [(job.state, job.cause) for job in jobs]

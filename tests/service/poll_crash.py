"""A process that is killed while it polls, at every step and at random times; then mailbox and ledger are checked.

Run by `test_poller_crash` as a process of its own, since it forks: ``python poll_crash.py PROOF FOLDER BACKEND``. The
mail server is the sandbox in a process that lives through all of it. It plays Gmail: what was retrieved is gone after
QUIT, whether or not the device has it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
import anyio.to_thread

from child_process import KILL_ROUNDS, fork_child, wait_for_exit
from mailslot.message import Message
from mailslot.pop3.session import Pop3Session
from mailslot.service import poll_plan, poller
from mailslot.service.device import open_device
from mailslot.service.pipeline import Done
from mailslot.service.poller import poll_once
from mailslot.slots.records import Records
from mailslot.spool.incoming_file import IncomingFile
from mailslot.spool.job import NewJob
from mailslot.spool.ledger import Ledger
from mailslot_plugins.sandbox import GMAIL, run_sandbox
from service.polling_device import RECORD, USER, mail, pop_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.connection import Connection

    from mailslot.service.device import Device
    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming

BACKEND = sys.argv[3] if len(sys.argv) > 3 else "asyncio"
IMPATIENT = replace(GMAIL, pop3=replace(GMAIL.pop3, capabilities_authenticated=("TOP", "UIDL")))
"""Gmail, but for the five minutes that it wants between two sign-ins."""

OVER = "over"
"""How the subject of a mail begins that is too large to be fetched."""


class SandboxProcess:
    """The sandbox in a separate process."""

    def __init__(self, home: Path) -> None:
        self._pipe, child_end = Pipe()
        self.process = os.fork()
        if not self.process:
            self._pipe.close()
            with suppress(EOFError):
                anyio.run(serve, home, child_end)
            os._exit(0)
        child_end.close()
        self._pipe.recv()

    def add(self, *names: str) -> None:
        self._pipe.send(names)
        self._pipe.recv()

    def listing(self) -> list[str]:
        self._pipe.send(())
        return list(self._pipe.recv())


async def serve(home: Path, pipe: Connection) -> None:
    async with run_sandbox(personality=IMPATIENT) as sandbox:
        settings = {**pop_settings(sandbox, home), "timeout": 300}
        await anyio.to_thread.run_sync(lambda: Records(home).change(RECORD, settings, {}))
        maildrop = sandbox.maildrops[USER]
        pipe.send(True)
        while True:
            for name in await anyio.to_thread.run_sync(pipe.recv):
                maildrop.add(mail(name, size=500_000 if name.startswith(OVER) else 100_000))
            pipe.send([subject(each.content) for each in maildrop.messages])
            assert not sandbox.errors


def subject(octets: bytes) -> str:
    return next(line for line in octets.decode().splitlines() if line.startswith("Subject: "))[9:]


class AnsweringPipeline:
    """A pipeline that answers each mail; its key keeps a second answer from one that was answered before a crash."""

    name, section, polls = "answering", None, RECORD

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        step("handle begun")
        assert mail.path is not None
        name = subject(mail.path.read_bytes())
        answer = Message(sender="a@example.com", to=["b@example.com"], subject=name, text=name)
        new = NewJob("answering", "smtp", "a@example.com", ["b@example.com"], subject=name, key=mail.digest)
        await device.spool.accept(new, answer)
        step("handle ended")
        return Done()

    async def run(self, device: Device) -> None:
        return


async def poll(home: Path) -> None:
    """Poll until all of it is done; the server needs a moment to notice that a killed client is gone."""
    async with open_device(Records(home)) as device:
        with anyio.fail_after(120):
            while True:
                report = await poll_once(device, RECORD, AnsweringPipeline(), wait=10)
                if report.cause != "mailbox_in_use":
                    assert report.ok, (report.cause, report.sentence)
                    return
                await anyio.sleep(0.01)


async def check(home: Path, listed: list[str], names: list[str], *, ended: bool) -> None:
    """See that each mail is on the server or in the spool, and that none was answered twice."""
    async with open_device(Records(home)) as device:
        assert device.spool.recovered_count == 0
        answered = [job.subject for job in await device.spool.jobs(limit=100_000)]
        assert len(set(answered)) == len(answered), "answered twice"
        mails = await device.spool.ledger.mails(RECORD, limit=100_000)
        waiting = [subject(mail.path.read_bytes()) for mail in mails if mail.path is not None]
        assert len(set(waiting)) == len(waiting), "fetched twice"
        for name in names:
            assert name in listed or name in waiting or name in answered, f"{name} is gone"
        for mail in mails:
            assert mail.state != "set_aside" or mail.path is None, mail.reason
        if ended:
            async with device.spool.delivery_lock():
                await device.spool.recover()
            assert sorted(answered) == sorted(name for name in names if not name.startswith(OVER))
            assert sorted(listed) == sorted(name for name in names if name.startswith(OVER))
            assert waiting == []
            assert not list((home / "spool").glob("*.mail*"))


killing: list[Any] = ["nowhere", 0]


def step(name: str) -> None:
    """Come to a step; the process is killed at the one that `killing` names."""
    if killing[0] == name:
        killing[1] -= 1
        if killing[1] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def stepping(owner: type, method: str, name: str) -> None:
    """Make a method come to two steps: before it, and after it."""
    real = getattr(owner, method)

    async def called(*arguments: Any, **options: Any) -> Any:
        step(f"{name} begun")
        result = await real(*arguments, **options)
        step(f"{name} ended")
        return result

    setattr(owner, method, called)


STEPS = (
    (Pop3Session, "listing", "listing"),
    (Pop3Session, "delete", "DELE"),
    (Pop3Session, "quit", "QUIT"),
    (Ledger, "record_first_poll", "first poll"),
    (Ledger, "count_fetch", "RETR"),
    (Ledger, "set_aside_unfetched", "TOP"),
    (Ledger, "mark_deleted", "deletion noted"),
    (Ledger, "forget_unlisted", "forgetting"),
    (Ledger, "begin_handling", "handling noted"),
    (Ledger, "mark_done", "done"),
    (IncomingFile, "write", "piece"),
    (IncomingFile, "commit", "recording"),
)
MOMENTS = [f"{name} {moment}" for *_, name in STEPS for moment in ("begun", "ended")] + ["handle begun", "handle ended"]


def run(work: Callable[..., Awaitable[None]], *arguments: Any, **options: Any) -> Callable[[], None]:
    async def main() -> None:
        await work(*arguments, **options)

    return lambda: anyio.run(main, backend=BACKEND)


def doomed(home: Path, moment: str, number: int) -> None:
    for each in STEPS:
        stepping(*each)
    killing[:] = [moment, number]
    run(poll, home)()


def killed_at_every_step(folder: Path, server: SandboxProcess) -> None:
    """A poll of three mails, and one too large, is broken off at each of its steps; each loop takes every second."""
    names: list[str] = []
    kills = 0
    for round_, moment in enumerate(MOMENTS):
        number = 1 + (round_ + (BACKEND == "trio")) % 2
        new = [f"{round_}-{n}" for n in range(3)] + [f"{OVER}-{round_}"] * moment.startswith("TOP")
        names += new
        server.add(*new)
        ended = wait_for_exit(fork_child(lambda moment=moment, number=number: doomed(folder, moment, number)))
        assert ended in {0, -signal.SIGKILL}, (moment, ended)
        # There is only one first poll, and these mails are refused one a poll.
        assert ended or moment.startswith(("first poll", "TOP")), moment
        kills += ended != 0
        assert wait_for_exit(fork_child(run(check, folder, server.listing(), names, ended=False))) == 0, moment
    print(f"{kills} kills, {len(names)} mails")
    assert kills >= 22
    finish(folder, server, names)


def killed_at_random_times(folder: Path, server: SandboxProcess, wanted: int = 8 * KILL_ROUNDS) -> None:
    """Polls are broken off whenever it may be, one after the other."""
    names: list[str] = []
    kills, longest = 0, 0.0
    for round_ in range(10 * wanted):
        new = [f"{round_}-{n}" for n in range(random.randint(1, 4))]
        names += new
        server.add(*new)
        began = time.monotonic()
        child = fork_child(run(poll, folder))
        if round_:
            time.sleep(random.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
        ended = wait_for_exit(child)
        assert ended in {0, -signal.SIGKILL}
        kills += ended != 0
        # How long a poll takes depends on the machine, and on what else it does.
        longest = max(longest, time.monotonic() - began) if ended == 0 else longest * 0.98
        assert wait_for_exit(fork_child(run(check, folder, server.listing(), names, ended=False))) == 0
        if kills == wanted:
            break
    print(f"{kills} kills, {len(names)} mails")
    assert kills == wanted
    finish(folder, server, names)


def finish(folder: Path, server: SandboxProcess, names: list[str]) -> None:
    assert wait_for_exit(fork_child(run(poll, folder))) == 0
    assert wait_for_exit(fork_child(run(check, folder, server.listing(), names, ended=True))) == 0


PROOFS = (killed_at_every_step, killed_at_random_times)


def main(name: str, folder: str, _backend: str) -> NoReturn:
    proof = next(proof for proof in PROOFS if proof.__name__ == name)
    seed = time.time_ns()
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    poll_plan._BATCH_MAILS = 2
    poller.MAX_MAIL_OCTETS = 400_000
    server = SandboxProcess(Path(folder))
    try:
        proof(Path(folder), server)
    finally:
        os.kill(server.process, signal.SIGKILL)
        os.waitpid(server.process, 0)
    sys.exit()


if __name__ == "__main__":
    main(*sys.argv[1:])

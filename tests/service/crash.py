"""Deliverers that are killed, and what the server's own mailbox must contain afterwards.

Run by `test_crash` as a process of its own, since it forks: ``python crash.py PROOF FOLDER [PORT MAILDIR]``. Without a
port, the server is the sandbox.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import anyio

from child_process import KILL_ROUNDS
from mailslot.errors import InputError
from mailslot.message import Message
from mailslot.net.channel import Channel
from mailslot.spool.folder import storage
from mailslot.spool.folder.database import Database
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import Fault, Sandbox, run_sandbox
from service.sending_device import OPEN, SENDER, opened, set_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailslot.spool.job import Job

TO = ["alice@example.test", "bob@example.test"]
SMALL, LARGE = 100, 200_000
ROUNDS = 30 * KILL_ROUNDS


# The children. They are forked from a process that has everything imported, and no threads.


class ChildProcesses:
    """Forks children, and says how they ended."""

    def __init__(self) -> None:
        self._commands, commands = os.pipe()
        self._answers, answers = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(commands)
            os.close(self._answers)
            try:
                self._run(os.fdopen(self._commands), answers)
            finally:
                os._exit(0)
        os.close(self._commands)
        os.close(answers)
        self._out = os.fdopen(commands, "w", buffering=1)
        self._in = os.fdopen(self._answers)

    @staticmethod
    def _run(commands: object, answers: int) -> None:
        for line in commands:  # type: ignore[attr-defined]  # it is a file
            command = json.loads(line)
            if not (child := os.fork()):
                status = 1
                try:
                    WORK[command.pop("work")](**command)
                    status = 0
                except BaseException as error:  # noqa: BLE001 - a child must never run on in its parent's place
                    print(f"in the child: {error!r} {getattr(error, 'detail', '')}", flush=True)
                os._exit(status)
            os.write(answers, b"%d\n" % child)
            os.write(answers, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    def start(self, work: str, **arguments: object) -> int:
        """Start a child; return its process number."""
        self._out.write(json.dumps({"work": work, **arguments}) + "\n")
        return int(self._in.readline())

    def ended(self) -> int:
        """Wait for the child's end; return its status."""
        return int(self._in.readline())

    def run(self, work: str, **arguments: object) -> int:
        self.start(work, **arguments)
        return self.ended()

    def close(self) -> None:
        self._out.close()
        os.waitpid(self.pid, 0)


def deliver(home: str, kill_at: int = 0) -> None:
    """Deliver what is due."""
    if kill_at:
        arm(kill_at)

    async def work() -> None:
        async with opened(set_up(Path(home), {})) as harness:
            await harness.deliver_due()

    anyio.run(work)


def scan_and_deliver(home: str, first: int, acknowledge: str) -> None:
    """Accept jobs and deliver them at once, without end; each one accepted is written down."""

    async def accept_on(spool: Spool) -> None:
        known = os.open(acknowledge, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in range(first, first + 10_000):
            await accept(spool, number, LARGE if number % 3 == 0 else SMALL)
            os.write(known, b"%d\n" % number)
            await anyio.sleep(0.005)

    async def work() -> None:
        async with opened(set_up(Path(home), {})) as harness, anyio.create_task_group() as group:
            group.start_soon(accept_on, harness.spool)
            await harness.worker.run()

    anyio.run(work)


def meddle(home: str, seed: int) -> None:
    """Have jobs sent again and cancelled, without end, whatever state they are in."""
    rng = random.Random(seed)

    async def work() -> None:
        async with Spool(Path(home)) as spool:
            while True:
                for job in await spool.jobs(limit=20):
                    ask = spool.retry if rng.random() < 0.8 else spool.cancel
                    with suppress(InputError):
                        await ask(job.id)
                await anyio.sleep(0.001)

    anyio.run(work)


WORK: dict[str, Callable[..., None]] = {
    "deliver": deliver,
    "scan_and_deliver": scan_and_deliver,
    "meddle": meddle,
}


async def accept(spool: Spool, number: int, size: int) -> Job:
    text = (f"line {number}\n" * (1 + size // 10))[:size]
    message = Message(sender=SENDER, to=TO, subject=f"job-{number}.", text=text)
    return await spool.accept(NewJob("scan", "smtp", SENDER, TO, f"job-{number}."), message)


def arm(step: int) -> None:
    """Let this process be killed at its step number `step`: around each transaction, file and piece on the wire."""
    remaining = step

    def tick() -> None:
        nonlocal remaining
        remaining -= 1
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: object, name: str, *, awaited: bool) -> None:
        call = getattr(owner, name)

        def blocking(*arguments: object, **options: object) -> object:
            tick()
            result = call(*arguments, **options)
            tick()
            return result

        async def waiting(*arguments: object, **options: object) -> object:
            tick()
            result = await call(*arguments, **options)
            tick()
            return result

        setattr(owner, name, waiting if awaited else blocking)

    around(Database, "_transaction", awaited=False)
    around(storage, "remove_file", awaited=False)
    around(Channel, "send", awaited=True)
    around(Channel, "receive", awaited=True)


# The server.


class ReceivedMails:
    """What arrived.

    Args:
        sandbox: the server, or None for Postfix.
        maildir: where Postfix delivers to.
    """

    def __init__(self, port: int, sandbox: Sandbox | None = None, maildir: Path | None = None) -> None:
        self.port = port
        self._sandbox = sandbox
        self._maildir = maildir

    @property
    def quick(self) -> bool:
        """Whether mail arrives at once."""
        return self._sandbox is not None

    def answer_slowly(self) -> None:
        """Keep those waiting who have handed a message over."""
        assert self._sandbox is not None
        self._sandbox.faults.append(Fault("message", delay=0.05))

    def arrived(self) -> Counter[int]:
        """How often each number arrived."""
        if self._sandbox is not None:
            contents = [submission.content for submission in self._sandbox.submissions]
        else:
            assert self._maildir is not None
            contents = [file.read_bytes() for file in [*self._maildir.glob("new/*"), *self._maildir.glob("cur/*")]]
        return Counter(int(found[1]) for content in contents if (found := re.search(rb"Subject: job-(\d+)\.", content)))

    def settled(self, at_least: set[int]) -> Counter[int]:
        """The same once nothing is on its way any more; Postfix takes a while."""
        end = time.monotonic() + 300
        while time.monotonic() < end:
            before = self.arrived()
            time.sleep(0.0 if self.quick else 0.3)
            if set(before) >= at_least and self.arrived() == before:
                return before
        return self.arrived()


@contextmanager
def the_sandbox() -> Iterator[ReceivedMails]:
    """Run the sandbox in a thread."""
    found: list[Sandbox] = []
    ready, stop = threading.Event(), threading.Event()

    async def run() -> None:
        async with run_sandbox(personality=OPEN) as sandbox:
            found.append(sandbox)
            ready.set()
            await anyio.to_thread.run_sync(stop.wait)

    thread = threading.Thread(target=anyio.run, args=(run,))
    thread.start()
    ready.wait()
    try:
        yield ReceivedMails(found[0].smtp.port, found[0])
    finally:
        stop.set()
        thread.join()


def configure(home: Path, mailbox: ReceivedMails) -> None:
    settings = {
        "server": "127.0.0.1",
        "port": mailbox.port,
        "security": "none",
        "sender_address": SENDER,
        "timeout": 300,
    }
    set_up(home, settings)


# The proofs.


def jobs_of(home: Path) -> dict[int, Job]:
    """All jobs, by the number in their subject."""

    async def work() -> list[Job]:
        async with Spool(home) as spool:
            return await spool.jobs(limit=100_000)

    return {int(re.findall(r"\d+", job.subject)[0]): job for job in anyio.run(work)}


def check(jobs: dict[int, Job], arrived: Counter[int]) -> None:
    """No mail is lost, and none came twice but one that was in doubt and says so."""
    for number, job in jobs.items():
        times = arrived[number]
        assert job.state in {"sent", "in_doubt"}, (number, job)
        if job.state == "sent":
            assert times >= 1, f"{number} is lost: {job}"
            assert times == 1 or job.doubts, f"{number} came {times} times and says nothing of it: {job}"
            assert times <= 1 + job.doubts
            assert ("may arrive twice" in job.sentence) == bool(job.doubts)
        else:
            assert times <= job.doubts
            assert "may arrive twice" in job.sentence
    assert set(arrived) <= set(jobs), "something arrived that nobody accepted"


def retry_doubts(home: Path) -> int:
    async def work() -> int:
        async with Spool(home) as spool:
            found = await spool.jobs(states={"in_doubt"}, limit=100_000)
            for job in found:
                await spool.retry(job.id)
            return len(found)

    return anyio.run(work)


def lines(file: Path) -> list[str]:
    """The whole lines that a file has by now."""
    return file.read_text().split("\n")[:-1] if file.exists() else []


def killed_at_every_step(folder: Path, nursery: ChildProcesses, mailbox: ReceivedMails) -> None:
    """Two jobs, a small one and a large one, are delivered by a process that is killed at each of its steps in turn."""
    doubts = number = 0
    for step in range(1, 1000):
        home = folder / f"home-{step}"
        configure(home, mailbox)

        async def begin(home: Path = home, number: int = number) -> None:
            async with Spool(home) as spool:
                await accept(spool, number, SMALL)
                await accept(spool, number + 1, LARGE)

        anyio.run(begin)
        ended = nursery.run("deliver", home=str(home), kill_at=step)
        assert ended in (0, -signal.SIGKILL), ended
        assert nursery.run("deliver", home=str(home)) == 0
        jobs = jobs_of(home)
        expected = {number, number + 1}
        check(jobs, Counter({n: count for n, count in mailbox.settled(set()).items() if n in expected}))
        in_doubt = [job for job in jobs.values() if job.state == "in_doubt"]
        assert len(in_doubt) <= 1
        if in_doubt:
            doubts += 1
            assert retry_doubts(home) == 1
            assert nursery.run("deliver", home=str(home)) == 0
            jobs = jobs_of(home)
            assert {job.state for job in jobs.values()} == {"sent"}
            check(jobs, Counter({n: count for n, count in mailbox.settled(expected).items() if n in expected}))
        number += 2
        if ended == 0:
            break
    print(f"{step - 1} kills, {doubts} doubts")
    assert step > 60
    # Between the note of the doubt and that of the answer there are some steps, and not many.
    assert 6 <= doubts <= 30


def killed_at_random_times(folder: Path, nursery: ChildProcesses, mailbox: ReceivedMails) -> None:
    """A process accepts and delivers and is killed, again and again."""
    home, acknowledged = folder / "home", folder / "acknowledged"
    configure(home, mailbox)
    first, rounds = 0, ROUNDS if mailbox.quick else ROUNDS // 2
    for _ in range(rounds):
        child = nursery.start("scan_and_deliver", home=str(home), first=first, acknowledge=str(acknowledged))
        # By work done rather than by time, which on a busy machine is no work at all.
        until = len(lines(acknowledged)) + random.randrange(1, 8)
        while len(lines(acknowledged)) < until:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert nursery.ended() == -signal.SIGKILL
        first += 1000
    assert nursery.run("deliver", home=str(home)) == 0
    jobs = jobs_of(home)
    known = set(map(int, lines(acknowledged)))
    assert known <= set(jobs), "what was accepted is gone"
    check(jobs, mailbox.settled({number for number, job in jobs.items() if job.state == "sent"}))
    doubts = retry_doubts(home)
    assert nursery.run("deliver", home=str(home)) == 0
    jobs = jobs_of(home)
    assert {job.state for job in jobs.values()} == {"sent"}, [job for job in jobs.values() if job.state != "sent"]
    arrived = mailbox.settled(set(jobs))
    check(jobs, arrived)
    twice = sum(count > 1 for count in arrived.values())
    print(f"{rounds} kills, {len(jobs)} jobs, {doubts} in doubt, {twice} came twice")
    assert len(jobs) > 2 * rounds


def killed_while_a_person_meddles(folder: Path, nursery: ChildProcesses, mailbox: ReceivedMails) -> None:
    """The same, while another process has jobs sent again and cancelled: no answer that is awaited is overtaken."""
    home, acknowledged = folder / "home", folder / "acknowledged"
    configure(home, mailbox)
    mailbox.answer_slowly()
    first, rounds = 0, ROUNDS // 3
    other = ChildProcesses()
    for number in range(rounds):
        children = [
            nursery.start("scan_and_deliver", home=str(home), first=first, acknowledge=str(acknowledged)),
            other.start("meddle", home=str(home), seed=number),
        ]
        time.sleep(0.1 + random.uniform(0, 0.5))
        for child in children:
            os.kill(child, signal.SIGKILL)
        assert [nursery.ended(), other.ended()] == [-signal.SIGKILL] * 2
        first += 1000
    assert nursery.run("deliver", home=str(home)) == 0
    other.close()
    jobs = jobs_of(home)
    assert set(map(int, acknowledged.read_text().split())) <= set(jobs), "what was accepted is gone"
    arrived = mailbox.arrived()
    for number, job in jobs.items():
        assert job.state in {"sent", "in_doubt", "cancelled"}, job
        assert not job.delivering
        assert arrived[number] <= job.doubts + (job.state == "sent"), (job, arrived[number])
        assert arrived[number] or job.state != "sent", f"{number} is lost: {job}"
    assert set(arrived) <= set(jobs)
    print(f"{2 * rounds} kills, {len(jobs)} jobs, {sum(job.doubts > 0 for job in jobs.values())} in doubt")


PROOFS = (killed_at_every_step, killed_at_random_times)
IN_THE_SANDBOX = (killed_while_a_person_meddles,)


def main(name: str, folder: str, port: str = "", maildir: str = "") -> NoReturn:
    proof = next(proof for proof in PROOFS + IN_THE_SANDBOX if proof.__name__ == name)
    seed = time.time_ns()
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    nursery = ChildProcesses()
    if port:
        proof(Path(folder), nursery, ReceivedMails(int(port), maildir=Path(maildir)))
    else:
        with the_sandbox() as mailbox:
            proof(Path(folder), nursery, mailbox)
    nursery.close()
    sys.exit()


if __name__ == "__main__":
    main(*sys.argv[1:])

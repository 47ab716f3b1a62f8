"""Processes that are killed while they accept, deliver and fetch, and what must hold afterwards.

Run by `test_crash` as a process of its own, since it forks: ``python crash.py PROOF FOLDER BACKEND``. The mail server
is a folder: what was delivered is a line of its file ``delivered``, and a mail that it holds is a file.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from child_process import KILL_ROUNDS, fork_child, wait_for_exit
from mailslot.smtp.content import BytesContent
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mailslot.spool.job import Job

RECORD = "status-pop"
BACKEND = sys.argv[3] if len(sys.argv) > 3 else "asyncio"
SYSTEM_CALLS = ("open", "write", "pwrite", "fsync", "rename", "unlink", "mkdir")
# The server's side is not ours to interrupt.
write, rename, unlink = os.write, os.rename, os.unlink


def text(name: str) -> bytes:
    return f"Message-ID: <{name}>\r\n\r\n".encode() + name.encode() * 2000 + b"\r\n"


class Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bell: int | None = None
        folder.mkdir(exist_ok=True)

    def take(self, job: Job) -> None:
        descriptor = os.open(self.folder / "delivered", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        write(descriptor, b"%d\n" % job.id)
        os.close(descriptor)
        if self.bell is not None:
            write(self.bell, b".")

    def delivered(self) -> list[int]:
        path = self.folder / "delivered"
        return [int(line) for line in path.read_bytes().split()] if path.exists() else []

    def add(self, uid: str) -> None:
        (self.folder / f"{uid}.new").write_bytes(text(uid))
        rename(self.folder / f"{uid}.new", self.folder / f"{uid}.mail")

    def listing(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.mail"))


async def poll(spool: Spool, server: Server) -> None:
    known = await spool.ledger.known_uids(RECORD)
    for uid in server.listing():
        if uid not in known or known[uid].mail is None:
            await spool.ledger.count_fetch(RECORD, uid)
            mail = (server.folder / f"{uid}.mail").read_bytes()
            async with spool.ledger.receive(RECORD, uid, len(mail)) as file:
                await file.write(mail[:1000])
                await file.write(mail[1000:])
        await spool.ledger.mark_deleted(RECORD, [uid])
        unlink(server.folder / f"{uid}.mail")
    await spool.ledger.forget_unlisted(RECORD, server.listing())


async def handle(spool: Spool) -> None:
    """Answer each mail; the key keeps a second answer from one that was answered before a crash."""
    for mail in await spool.ledger.waiting(RECORD, limit=10_000):
        taken = await spool.ledger.begin_handling(mail.id)
        assert taken.path is not None
        assert taken.path.read_bytes() == text(mail.uid)
        name = f"reply-{mail.uid}"
        await spool.accept(
            NewJob("status", "smtp", "", ["a@example.com"], key=mail.digest, subject=name), BytesContent(text(name))
        )
        await spool.ledger.mark_done(mail.id)


async def deliver(spool: Spool, server: Server) -> None:
    while (job := await spool.claim("smtp")) is not None:
        assert job.id not in server.delivered(), "delivered once already"
        assert b"".join([piece async for piece in spool.content(job).chunks()]) == text(job.subject)
        await spool.hand_over(job.id)
        server.take(job)
        await spool.record_replies(job.id, accepted=["a@example.com"], reply="250 ok")


async def accept(spool: Spool, name: str) -> Job:
    new = NewJob("scan", "smtp", "s@example.com", ["a@example.com"], key=name, subject=name)
    return await spool.accept(new, BytesContent(text(name)))


async def journey(home: Path, server: Server) -> None:
    async with Spool(home) as spool, spool.delivery_lock(timeout=300):
        await spool.recover()
        await accept(spool, "scan")
        await poll(spool, server)
        await handle(spool)
        await deliver(spool, server)
        await spool.prune()


async def check(home: Path, server: Server, accepted: dict[str, int], mails: list[str]) -> None:
    """See that nothing is lost, nothing is twice, and nothing is left over."""
    async with Spool(home) as spool, spool.delivery_lock(timeout=300):
        assert spool.recovered_count == 0
        recovered = await spool.recover()
        assert recovered.failed == recovered.lost_mails == ()
        assert (await spool.recover()).files == 0
        jobs = {job.id: job for job in await spool.jobs(limit=100_000)}
        assert len({job.subject for job in jobs.values()}) == len(jobs), "accepted twice"
        for name, job_id in accepted.items():
            assert jobs[job_id].subject == name, "an accepted job is gone"
        delivered = server.delivered()
        assert len(set(delivered)) == len(delivered), "delivered twice"
        assert set(delivered) <= set(jobs)
        kept = 0
        for job in jobs.values():
            assert job.state in ({"sent", "in_doubt"} if job.id in delivered else {"queued", "in_doubt"}), job
            if job.state != "sent":
                kept += 1
                assert b"".join([piece async for piece in spool.content(job).chunks()]) == text(job.subject)
        known = await spool.ledger.known_uids(RECORD)
        answered = {job.subject for job in jobs.values()}
        for uid, there in known.items():
            assert there.mail is not None or uid in server.listing(), "a mail is gone"
        fetched = await spool.ledger.mails(RECORD, limit=100_000)
        by_uid = {mail.uid: mail for mail in fetched}
        assert len(by_uid) == len(fetched), "fetched twice"
        for uid in mails:
            assert uid in server.listing() or uid in by_uid, "a mail is gone"
        for uid, mail in by_uid.items():
            assert mail.state in {"fetched", "done"}
            if mail.state == "done":
                assert f"reply-{uid}" in answered, "done without an answer"
            else:
                kept += 1
                assert mail.path is not None
                assert mail.path.read_bytes() == text(uid)
        names = [path.name for path in (home / "spool").iterdir() if path.suffix in {".job", ".mail", ".new"}]
        assert len(names) == kept, "files are left over"


def run(work: Callable[..., Awaitable[None]], *arguments: object) -> Callable[[], None]:
    return lambda: anyio.run(work, *arguments, backend=BACKEND)


def kill_at(step: int) -> Callable[[int], None]:
    """Make this process kill itself at system call or commit number `step`; of a write, half is done.

    Returns:
        a function that sets the number anew, counted from then on; with 0, it is never killed.
    """
    remaining = step
    counting = threading.Lock()

    def set_step(step: int) -> None:
        nonlocal remaining
        remaining = step

    def count() -> None:
        nonlocal remaining
        with counting:
            remaining -= 1
            if remaining == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def dying(call: Callable[..., object], *, half: bool) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            if half and remaining == 1:
                call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            count()
            return call(*arguments, **options)

        return called

    class Dying(sqlite3.Connection):
        """Counts the moment before each commit, and the one after it."""

        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            if statement != "COMMIT":
                return super().execute(statement, *values)
            count()
            cursor = super().execute(statement, *values)
            count()
            return cursor

    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Dying, **options)
    for name in SYSTEM_CALLS:
        setattr(os, name, dying(getattr(os, name), half=name == "write"))
    return set_step


def killed_at_every_step(folder: Path) -> None:
    """A journey from an empty home is broken off at each step in turn, and made again; each loop takes every second."""
    for step in itertools.count(1 + (BACKEND == "trio"), 2):
        home, server = folder / f"home-{step}", Server(folder / f"server-{step}")
        mails = ["u1", "u2"]
        for uid in mails:
            server.add(uid)
        ended = wait_for_exit(
            fork_child(lambda home=home, server=server, step=step: (kill_at(step), run(journey, home, server)()))
        )
        assert ended in (0, -signal.SIGKILL), ended
        assert wait_for_exit(fork_child(run(recovered, home, server, mails))) == 0
        shutil.rmtree(home)
        if ended == 0:
            break
    print(f"{step - 1} steps")
    assert step > 60


async def recovered(home: Path, server: Server, mails: list[str]) -> None:
    """See that a journey which broke off left everything in order, and that another one ends it."""
    await check(home, server, {}, mails)
    await journey(home, server)
    await check(home, server, {"scan": 1}, mails)
    async with Spool(home) as spool:
        counts = await spool.count_by_state()
        assert counts["sent"] + counts["in_doubt"] == sum(counts.values()) == 1 + len(mails)
        assert counts["in_doubt"] <= 1
        assert {mail.state for mail in await spool.ledger.mails()} == {"done"}
    assert server.listing() == []


def killed_while_several_are_accepted(folder: Path) -> None:
    """Messages that share a sync and a commit: at each step, what was acknowledged is there, and nothing is twice."""
    names = [f"scan-{n}" for n in range(6)]

    async def accept_together(home: Path, acknowledge: int) -> None:
        async def accept_one(name: str) -> None:
            job = await accept(spool, name)
            write(acknowledge, b"%s %d\n" % (name.encode(), job.id))

        async with Spool(home) as spool:
            make_group(spool, len(names))
            async with anyio.create_task_group() as group:
                for name in names:
                    group.start_soon(accept_one, name)

    for step in itertools.count(1 + (BACKEND == "trio"), 2):
        home, server = folder / f"home-{step}", Server(folder / "server")
        reading, writing = os.pipe()
        child = fork_child(lambda home=home, step=step, out=writing: (kill_at(step), run(accept_together, home, out)()))
        ended = wait_for_exit(child)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            accepted = {name: int(job) for name, job in map(str.split, pipe)}
        assert ended in (0, -signal.SIGKILL), ended
        assert wait_for_exit(fork_child(run(check, home, server, accepted, []))) == 0
        shutil.rmtree(home)
        if ended == 0:
            break
    print(f"{step - 1} steps")
    assert len(accepted) == len(names)
    assert step > 30


def make_group(spool: Spool, size: int) -> None:
    """Let the first message wait until all others can be written together."""
    writes = spool._storage.database._write_grouped
    serve, first = writes._serve, True

    def serve_late(group: Sequence[Any]) -> None:
        nonlocal first
        while first and writes.waiting < size - 1:
            time.sleep(0.001)
        first = False
        serve(group)

    writes._serve = serve_late


def killed_at_random_times(folder: Path, rounds: int = 20 * KILL_ROUNDS) -> None:
    """One process accepts, another delivers and fetches; both are killed. What was acknowledged is never lost."""
    home, server = folder / "home", Server(folder / "server")
    accepted: dict[str, int] = {}
    mails: list[str] = []
    number = 0

    async def accept_on(start: int, acknowledge: int) -> None:
        async with Spool(home) as spool:
            for n in range(start, start + 1_000_000):
                job = await accept(spool, f"scan-{n}")
                os.write(acknowledge, b"scan-%d %d\n" % (n, job.id))
                if n % 3 == 0:
                    server.add(f"u{n}")
                    os.write(acknowledge, b"u%d\n" % n)
                # No faster than the other one delivers, or most of the time goes into checking what waits.
                await anyio.sleep(0.005)

    async def deliver_on() -> None:
        async with Spool(home) as spool, spool.delivery_lock(timeout=300):
            await spool.recover()
            while True:
                await poll(spool, server)
                await handle(spool)
                await deliver(spool, server)

    for _ in range(rounds):
        reading, writing = os.pipe()
        output, server.bell = os.pipe()
        children = [fork_child(run(accept_on, number, writing)), fork_child(run(deliver_on))]
        os.close(writing)
        # By work done rather than by time, which on a busy machine is no work at all.
        for _ in range(random.randrange(8)):
            os.read(output, 1)
        time.sleep(random.uniform(0.0, 0.02))
        for end in (output, server.bell):
            os.close(end)
        server.bell = None
        random.shuffle(children)
        for child in children:
            os.kill(child, signal.SIGKILL)
            time.sleep(random.uniform(0, 0.02))
        assert [wait_for_exit(child) for child in children] == [-signal.SIGKILL] * 2
        with os.fdopen(reading, "rb") as pipe:
            for line in pipe.read().decode().splitlines():
                name, _, job_id = line.partition(" ")
                if job_id:
                    accepted[name] = int(job_id)
                    number = int(name.removeprefix("scan-")) + 1
                else:
                    mails.append(name)
        assert wait_for_exit(fork_child(run(check, home, server, accepted, mails))) == 0
    print(f"{2 * rounds} kills, {len(accepted)} accepted, {len(server.delivered())} delivered, {len(mails)} mails")
    assert len(accepted) > rounds
    assert len(server.delivered()) > rounds
    assert wait_for_exit(fork_child(run(journey, home, server))) == 0
    assert wait_for_exit(fork_child(run(check, home, server, accepted, mails))) == 0
    assert server.listing() == []


def one_delivers_at_a_time(folder: Path, processes: int = 4) -> None:
    """Processes that all want to deliver take turns, and what they deliver together is each job once."""
    home, server = folder / "home", Server(folder / "server")

    async def work(name: str) -> None:
        async with Spool(home) as spool:
            for n in range(10):
                await accept(spool, f"{name}-{n}")
                async with spool.delivery_lock(timeout=300):
                    await spool.recover()
                    await deliver(spool, server)

    children = [fork_child(run(work, name)) for name in "abcdefgh"[:processes]]
    assert [wait_for_exit(child) for child in children] == [0] * processes
    assert wait_for_exit(fork_child(run(check, home, server, {}, []))) == 0
    assert sorted(server.delivered()) == list(range(1, 10 * processes + 1))


PROOFS = (killed_at_every_step, killed_while_several_are_accepted, killed_at_random_times, one_delivers_at_a_time)


def main(name: str, folder: str, _backend: str) -> NoReturn:
    proof = next(proof for proof in PROOFS if proof.__name__ == name)
    seed = time.time_ns()
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    # What a loop needs is loaded once, not in each child.
    anyio.run(anyio.sleep, 0, backend=BACKEND)
    proof(Path(folder))
    sys.exit()


if __name__ == "__main__":
    main(*sys.argv[1:])

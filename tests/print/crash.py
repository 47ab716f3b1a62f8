"""A device that is killed while it prints, and what must hold afterwards: each document comes out once.

Run by `test_crash` as a process of its own, since it forks: ``python crash.py PROOF FOLDER BACKEND``. The printer is a
real one, in a process that lives through all of it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from child_process import fork_child, wait_for_exit
from lab.printer import start_printer
from mailslot.oauth.timing import Clocks
from mailslot.service.device import open_device
from mailslot.service.handling import handle_waiting
from mailslot.slots.records import Records
from mailslot.spool.ledger import Ledger
from mailslot.spool.spool import Spool
from mailslot.spool.store import Store
from mailslot_plugins.print.pipeline import pipeline
from mailslot_plugins.printers.ipp import operations
from print.sample_mails import RECORD, SETTINGS, make_mail, scan, store_mail
from shared_fork_server import share_fork_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lab.printer import Printer

KILLED = -signal.SIGKILL


async def prepare(home: Path, printer: str, names: list[list[str]]) -> None:
    """Put mails into the spool, each with attachments of these names; what begins with x is broken."""
    home.mkdir()  # noqa: ASYNC240 - of a test
    (home / "mailslot.toml").write_text(SETTINGS.format(printer=printer, more=""))
    async with open_device(Records(home), [pipeline.section]) as device:
        for number, attachments in enumerate(names):
            parts = [(name, b"%PDF-1.7\n", "application/pdf") if name[0] == "x" else scan(name) for name in attachments]
            await store_mail(device, make_mail(*parts, number=number))


async def handle(home: Path, shift: float = 0.0) -> None:
    """Handle what is due, some seconds from now."""
    clocks = Clocks(wall=lambda: time.time() + shift)
    async with open_device(Records(home), [pipeline.section], clocks=clocks) as device:
        await handle_waiting(device, RECORD, pipeline)


async def outcome(home: Path) -> tuple[list[tuple[str, str]], int]:
    """Return the outcomes of the mails, and the number of replies."""
    async with Spool(home) as spool:
        return [(mail.state, mail.reason) for mail in await spool.ledger.mails(RECORD)], len(await spool.jobs())


def printed(printer: Printer, mark: str) -> Counter[str]:
    """How often each document whose name begins with `mark` was printed."""
    names = [path.stem for path in printer.spool.iterdir() if path.suffix == ".pdf"]
    return Counter(name[name.index(mark) :] for name in names if mark in name)


def finish(home: Path, backend: str) -> None:
    """Handle what is left. A printer whose last client was killed stays busy for a while, so there are many turns."""
    for turn in range(100):
        ended = wait_for_exit(fork_child(lambda turn=turn: anyio.run(handle, home, 200.0 * turn, backend=backend)))  # type: ignore[misc]
        assert ended == 0, ended
        if all(state != "fetched" for state, _ in anyio.run(outcome, home, backend=backend)[0]):
            return
        time.sleep(0.5)
    raise AssertionError(anyio.run(outcome, home, backend=backend))


def count_down(step: int) -> None:
    """Make this process kill itself at its `step`-th step: before a change of the disk, or after one of the printer."""
    left = step

    def passed() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def guarded(*arguments: object, **named: object) -> object:
            passed()
            return await function(*arguments, **named)

        return guarded

    def after(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def guarded(*arguments: object, **named: object) -> object:
            result = await function(*arguments, **named)
            passed()
            return result

        return guarded

    steps = ((Store, "put"), (Ledger, "mark_done"), (Ledger, "set_aside"), (Ledger, "postpone"), (Spool, "accept"))
    for owner, name in steps:
        setattr(owner, name, before(getattr(owner, name)))
    operations.post = after(operations.post)  # type: ignore[assignment]


def killed_at_each_step(folder: Path, printer: Printer, backend: str) -> None:
    """SIGKILL at the n-th of all steps, for every n; of two backends each takes every second."""
    reached = 0
    for step in range(backend == "trio", 200, 2):
        home, mark = folder / str(step), f"s{step:03}"
        anyio.run(prepare, home, printer.uri, [[f"{mark}a.pdf", "x.pdf", f"{mark}b.pdf"]], backend=backend)

        def work(home: Path = home, step: int = step) -> None:
            count_down(step)
            anyio.run(handle, home, backend=backend)

        ended = wait_for_exit(fork_child(work))
        assert ended in {0, KILLED}, ended
        finish(home, backend)
        mails, answers = anyio.run(outcome, home, backend=backend)
        assert [state for state, _ in mails] == ["done"], mails
        assert answers == 1
        assert printed(printer, mark) == {f"{mark}a_pdf": 1, f"{mark}b_pdf": 1}, (step, printed(printer, mark))
        if ended == 0:
            break
        reached += 1
    assert reached >= 10, reached
    print(f"killed at {reached} steps")


def killed_at_random_times(folder: Path, printer: Printer, backend: str, rounds: int = 10) -> None:
    """SIGKILL at random times, until nothing is left to do."""
    home = folder / "home"
    count = 8
    names = [[f"r{number:03}.pdf"] for number in range(count)]
    anyio.run(prepare, home, printer.uri, names, backend=backend)
    rng = random.Random(6)
    kills = 0
    for turn in range(rounds):
        child = fork_child(lambda turn=turn: anyio.run(handle, home, 200.0 * turn, backend=backend))  # type: ignore[misc]
        time.sleep(rng.uniform(0.3, 1.0))
        os.kill(child, signal.SIGKILL)
        kills += wait_for_exit(child) == KILLED
    finish(home, backend)
    mails, _ = anyio.run(outcome, home, backend=backend)
    whole = sum(state == "done" for state, _ in mails)
    interrupted = sum("interrupted" in reason for _, reason in mails)
    assert whole + interrupted == count, mails
    found = printed(printer, "r0")
    assert set(found.values()) == {1}, found
    assert len(found) >= whole, found
    print(f"killed {kills} times; {interrupted} mails set aside")


PROOFS = (killed_at_each_step, killed_at_random_times)

if __name__ == "__main__":
    proof = next(proof for proof in PROOFS if proof.__name__ == sys.argv[1])
    share_fork_server()
    with (
        tempfile.TemporaryDirectory(prefix="mailslot-", dir="/tmp") as short,
        start_printer(Path(short) / "printer", "-f", "application/pdf", "-c", "/bin/true") as running,
    ):
        proof(Path(sys.argv[2]), running, sys.argv[3])

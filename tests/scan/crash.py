"""A watcher of a folder that is killed, and what must hold afterwards: each file is one scan, and none is lost.

Run by `test_crash` as a process of its own, since it forks: ``python crash.py PROOF FOLDER BACKEND``.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from sample_documents import tiff

from child_process import fork_child, kill_at, wait_for_exit
from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot.spool.folder import files
from mailslot.spool.spool import Spool
from mailslot.spool.store import Store
from mailslot_plugins.scan import watcher
from mailslot_plugins.scan.section import SECTION

if TYPE_CHECKING:
    from mailslot.spool.job import Job

KILLED = -signal.SIGKILL


def prepare(folder: Path, count: int) -> Path:
    """A home whose folder ``in`` holds scans; every second is so large that it takes three mails."""
    home = folder / "home"
    records = Records(home)
    records.change("smtp", {"server": "127.0.0.1", "sender_address": "scanner@example.com"}, {})
    values = {"folder": "in", "to": "alice@example.com", "subject": "{name} {counter}", "oversize": "split"}
    records.settings.change_section(SECTION, {**values, "max_size": 60_000})
    (home / "in").mkdir()
    for number in range(count):
        path = tiff(home / "in" / f"{number}.tif", 5 if number % 2 else 1, compression="raw")
        modified_at = time.time() - 1000 + number
        os.utime(path, (modified_at, modified_at))
    return home


async def look(home: Path, times: int = 1) -> None:
    async with open_device(Records(home), [SECTION]) as device:
        await device.remove_abandoned_folders()  # as the service does
        folder_watcher = watcher.FolderWatcher(device)
        for _ in range(times):
            await folder_watcher.check_folder()


async def jobs(home: Path) -> list[Job]:
    async with Spool(home) as spool:
        return await spool.jobs(limit=1000)


def check(home: Path, count: int, backend: str) -> None:
    """Every file was removed, and mailed complete and once."""
    left = sorted(path.name for folder in ("in", "work") for path in (home / folder).iterdir())
    assert left == [], left
    subjects = sorted(job.subject for job in anyio.run(jobs, home, backend=backend))
    whole = [subject for subject in subjects if "(" not in subject]
    parts = [subject for subject in subjects if "(" in subject]
    assert len(whole) == count - count // 2, subjects
    assert len({subject.split()[0] for subject in whole}) == len(whole), subjects
    assert len(parts) == len(set(parts)) == 3 * (count // 2), subjects


def killed_at_each_step(folder: Path, backend: str) -> None:
    """SIGKILL at the n-th of all steps that leave something on the disk, for every n; each loop takes every second."""
    reached = 0
    for step in range(backend == "trio", 200, 2):
        place = folder / str(step)
        place.mkdir()
        home = prepare(place, 2)

        def work(home: Path = home, step: int = step) -> None:
            kill_at(step, STEP_FUNCTIONS)
            anyio.run(look, home, backend=backend)

        ended = wait_for_exit(fork_child(work))
        assert ended in {0, KILLED}, ended
        after = wait_for_exit(fork_child(lambda home=home: anyio.run(look, home, 2, backend=backend)))  # type: ignore[misc]
        assert after == 0, after
        check(home, 2, backend)
        if ended == 0:
            break
        reached += 1
    assert reached >= 10, reached
    print(f"killed at {reached} steps")


STEP_FUNCTIONS = (
    (files.NewFile, "write"),
    (files.NewFile, "commit"),
    (files.NewFile, "_close"),
    (Store, "put"),
    (Store, "delete"),
    (Spool, "accept"),
    (watcher, "remove_mailed"),
    (watcher, "compose"),
    (watcher, "enqueue_scan"),
    (Path, "unlink"),
)


def killed_at_random_times(folder: Path, backend: str, rounds: int = 25) -> None:
    """SIGKILL at random times, until nothing is left to do."""
    home = prepare(folder, 30)
    rng = random.Random(4)
    kills = 0
    for _ in range(rounds):
        child = fork_child(lambda: anyio.run(look, home, 1, backend=backend))
        time.sleep(rng.uniform(0.02, 0.3))
        os.kill(child, signal.SIGKILL)
        kills += wait_for_exit(child) == KILLED
    assert wait_for_exit(fork_child(lambda: anyio.run(look, home, 2, backend=backend))) == 0
    check(home, 30, backend)
    print(f"killed {kills} times")


PROOFS = (killed_at_each_step, killed_at_random_times)

if __name__ == "__main__":
    proof = next(proof for proof in PROOFS if proof.__name__ == sys.argv[1])
    proof(Path(sys.argv[2]), sys.argv[3])

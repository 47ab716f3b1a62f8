"""Measure how fast the spool alone accepts messages: ``python -m bench.spool [--quick] [--json]``.

Nothing is received over a network, and nothing is delivered. Beside it stands what the disk does: how many times a
second it takes a small write and a small file, and a file with its name, written by one thread and by several. Messages
that come at the same time share the sync of their folder and that of the database, but each file is synced by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from bench.task import message
from mailslot.smtp.content import BytesContent
from mailslot.spool.job import NewJob
from mailslot.spool.job_file import JobFile
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SIZE = 2_048
GOAL = 1_500.0
"""Messages a second."""

ACCEPTORS = (1, 4, 10, 20, 40)


def rate(count: int, work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return count / (time.monotonic() - began)


def in_threads(threads: int, work: Callable[[int], None]) -> None:
    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def measure_disk(folder: Path, count: int) -> dict[str, float]:
    """Return what the disk does in a second."""
    found: dict[str, float] = {}
    octets = message(SIZE)

    def append(threads: int) -> None:
        def work(number: int) -> None:
            descriptor = os.open(folder / f"log-{number}", os.O_WRONLY | os.O_CREAT)
            # Not growing, as the log of the database, once it has its size.
            os.pwrite(descriptor, bytes(SIZE * (count // threads)), 0)
            os.fsync(descriptor)
            for each in range(count // threads):
                os.pwrite(descriptor, octets, each * SIZE)
                os.fdatasync(descriptor)
            os.close(descriptor)

        in_threads(threads, work)

    def write_files(threads: int, *, syncs_folder: bool) -> None:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

        def work(number: int) -> None:
            for each in range(count // threads):
                path = folder / f"{syncs_folder}-{threads}-{number}-{each}"
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
                os.write(descriptor, octets)
                os.fsync(descriptor)
                os.close(descriptor)
                path.rename(path.with_suffix(".job"))
                if syncs_folder:
                    os.fsync(place)

        in_threads(threads, work)
        os.close(place)

    for threads in (1, 4, 16):
        found[f"fdatasync of 2 KiB, {threads} at once"] = rate(count, lambda threads=threads: append(threads))
        for what, syncs_folder in (("files of 2 KiB", False), ("files of 2 KiB, each with its folder", True)):
            found[f"{what}, {threads} at once"] = rate(
                count, lambda threads=threads, syncs=syncs_folder: write_files(threads, syncs_folder=syncs)
            )
    return found


async def measure_spool(home: Path, count: int, acceptors: int, way: str) -> dict[str, float]:
    """Accept messages, as fast as it goes; return the figures of a message."""
    counts = Counter[str]()
    sync, begun = os.fsync, ""

    def counted_sync(descriptor: int) -> None:
        counts["syncs"] += 1
        sync(descriptor)

    def note(statement: str) -> None:
        nonlocal begun
        if statement.startswith("BEGIN"):
            begun = statement
        counts["commits"] += statement == "COMMIT" and begun == "BEGIN IMMEDIATE"

    content = message(SIZE)

    async def whole(spool: Spool, number: int) -> None:
        await spool.accept(
            NewJob("scan", "smtp", "a@example.com", ["b@example.com"], key=str(number)), BytesContent(content)
        )

    async def streamed(spool: Spool, number: int) -> None:
        new = NewJob("gateway", "smtp", "a@example.com", ["b@example.com"], key=str(number))
        await spool.acceptance.check_room(SIZE)
        file = JobFile(spool.acceptance, new)
        await file.write(content)
        await file.commit(new, smtputf8=False)

    accept: Callable[[Spool, int], Awaitable[None]] = {"accept": whole, "stream": streamed}[way]
    numbers = iter(range(count))

    async def accept_all() -> None:
        for number in numbers:
            await accept(spool, number)

    async with Spool(home) as spool:
        connection = spool._storage.database._connection  # noqa: SLF001 - nothing else tells of its commits
        assert connection is not None
        await accept(spool, -1)
        os.fsync = counted_sync
        connection.set_trace_callback(note)
        used, began = processor_seconds(), time.monotonic()
        try:
            async with anyio.create_task_group() as group:
                for _ in range(acceptors):
                    group.start_soon(accept_all)
        finally:
            os.fsync = sync
        seconds, used = time.monotonic() - began, processor_seconds() - used
        connection.set_trace_callback(None)
    return {
        "a second": count / seconds,
        "processor ms": 1e3 * used / count,
        **{what: value / count for what, value in counts.items()},
    }


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure; return 1 where the spool is slower than its target."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.spool", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    parser.add_argument("--messages", type=int, default=4_000)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--folder", type=Path, help="where the spool is; its disk is measured, too")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    count = arguments.messages // (10 if arguments.quick else 1)
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"disk": {}, "spool": {}}
    with tempfile.TemporaryDirectory(dir=arguments.folder, ignore_cleanup_errors=True) as made:
        folder = Path(made)
        (folder / "disk").mkdir()
        found["disk"] = measure_disk(folder / "disk", count)
        for way in ("accept", "stream"):
            for acceptors in ACCEPTORS:
                home = folder / f"{way}-{acceptors}"
                share = max(count // (4 if acceptors == 1 else 1), 1)
                arguments_of_run = (measure_spool, home, share, acceptors, way)
                found["spool"][f"{way}, {acceptors} at once"] = anyio.run(*arguments_of_run, backend=arguments.backend)
    found["load"] = os.getloadavg()[0]
    best = max(figures["a second"] for figures in found["spool"].values())
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found, best)
    return 1 if best < GOAL else 0


def show(found: dict[str, Any], best: float) -> None:
    for what, value in found["disk"].items():
        print(f"{what:46} {value:8,.0f}/s")
    for what, figures in found["spool"].items():
        rest = ", ".join(f"{figures[key]:.2f} {key}" for key in figures if key != "a second")
        print(f"the spool, {what:35} {figures['a second']:8,.0f}/s   {rest}")
    print(f"target ≥ {GOAL:,.0f}/s: {'reached' if best >= GOAL else 'MISSED'}   load {found['load']:.1f}")


if __name__ == "__main__":
    sys.exit(main())

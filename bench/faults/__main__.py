"""Break a fleet's database and workers, and see that nothing is lost or done twice.

python -m bench.faults                all faults, which takes an hour
python -m bench.faults --only cut     one of them
python -m bench.faults --quick        shorter, such as a database that is gone for 100 seconds and not for ten minutes

Two workers as processes of their own, twelve devices of three tenants, a token service with strict rotation. What is
missing here (PgBouncer, libfaketime, root for a disk of its own) is left out, and this is said.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from bench.faults.cluster import PGBOUNCER, Cluster
from bench.faults.load import Load
from bench.faults.scenarios import FAKETIME, FAULTS
from bench.faults.world import World
from fleet.tasks import TaskFleet
from mailslot_plugins.sandbox import run_sandbox
from service.sending_device import OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = {f"device{number}@example.com": "open sesame" for number in range(12)}
TENANTS = ("acme", "globex", "initech")


def missing(name: str) -> str:
    """What is missing here for a fault; empty if nothing is."""
    if name == "pooler" and not PGBOUNCER.exists():
        return "PgBouncer is not installed"
    if name == "clock" and not FAKETIME.exists():
        return "libfaketime is not installed"
    if name.startswith("full") and os.geteuid() != 0:
        return "only root can mount a small disk"
    return ""


@contextmanager
def logging_commits(log: Path) -> Iterator[None]:
    """Add to the workers' log what became of commits of this process that had no answer."""
    logger, handler = logging.getLogger("mailslot.fleet.postgres.database"), logging.FileHandler(log)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    handler.close()


async def prove(name: str, folder: Path, *, quick: bool) -> bool:
    """Let a fault happen, and print what came of it; return whether all is well."""
    fault, place = FAULTS[name]
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(run_sandbox(users=USERS))
        sandbox.personality = OPEN
        world = World(folder, Cluster(folder / "cluster"), quick)
        stack.push_async_callback(run_sync, world.cluster.end)
        await stack.enter_async_context(place(world))
        fleet = await run_sync(TaskFleet, world.url, folder / "fleet")
        stack.callback(fleet.database.close)
        homes = {user: fleet.add_device(TENANTS[number % len(TENANTS)]) for number, user in enumerate(USERS)}
        world.load = load = Load(fleet, sandbox, homes)
        await load.set_up(folder)
        stack.enter_context(logging_commits(world.log))
        stack.callback(world.kill_all)
        for _ in range(2):
            world.start_worker()
        await world.wait_until_ready()
        async with anyio.create_task_group() as group:
            group.start_soon(load.run)
            await anyio.sleep(10)
            what = await fault(world)
            await anyio.sleep(10)
            group.cancel_scope.cancel()
        try:
            seconds = await load.finish(600)
        except TimeoutError as error:
            print(f"{name:12} FAILED: after ten minutes there are still {error}; {world.log}", flush=True)
            return False
        ended = await run_sync(world.end_workers)
        wrong, numbers = await load.check(world.log.read_text())
        if any(ended):
            wrong.append(f"workers ended with {ended}")
        print(f"{name:12} {'FAILED: ' + '; '.join(wrong) if wrong else 'ok'}", flush=True)
        print(f"{'':12} {what}; all done {seconds:.0f} s after the last work came", flush=True)
        print(f"{'':12} {', '.join(f'{number} {label}' for label, number in numbers.items())}", flush=True)
        return not wrong


def main() -> int:
    """Do as the command line says; the exit code is 1 if anything was lost or done twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=FAULTS, help="only this fault; may be repeated")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    # So that no cluster outlives it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    good = True
    for name in options.only or FAULTS:
        if why := missing(name):
            print(f"{name:12} left out: {why}", flush=True)
            continue
        folder = Path(tempfile.mkdtemp(prefix=f"mailslot-{name}-", dir="/tmp"))
        folder.chmod(0o755)
        fine = False
        try:
            fine = anyio.run(partial(prove, name, folder, quick=options.quick))
        finally:
            if fine and not options.keep:
                shutil.rmtree(folder, ignore_errors=True)
        good &= fine
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

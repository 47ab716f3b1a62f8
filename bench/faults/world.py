"""A fleet whose workers and database can be broken."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import psycopg
from anyio.to_thread import run_sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.faults.cluster import Cluster
    from bench.faults.load import Load


@dataclass
class World:
    """What a fault has to do with.

    Attributes:
        folder: a folder for its files.
        cluster: the cluster.
        quick: whether to be quick.
        url: the address of the database, for the workers.
        standby: the cluster that takes its place.
        fill: fills the disk, and returns what empties it again.
        load: what the fleet has to do.
    """

    folder: Path
    cluster: Cluster
    quick: bool
    url: str = ""
    standby: Cluster | None = None
    fill: Callable[[], Callable[[], None]] | None = None
    load: Load = field(init=False)
    started: int = 0
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list["subprocess.Popen[bytes]"])

    @property
    def log(self) -> Path:
        return self.folder / "workers.log"

    def command(self, command: str, database: str = "postgres") -> None:
        address = f"postgresql://postgres@127.0.0.1:{self.cluster.port}/{database}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(command.encode())

    def count_commits_that_wait(self) -> int:
        """How many commits wait for a standby."""
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.cluster.port}/postgres") as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            return connection.execute(query).fetchall()[0][0]

    def create_database(self, options: str = "") -> None:
        self.command(f"CREATE DATABASE fleet {options}")
        self.url = f"postgresql://postgres@127.0.0.1:{self.cluster.port}/fleet"

    def start_worker(self, **environment: str) -> None:
        values = {
            **os.environ,
            "MAILSLOT_DATABASE": self.url,
            "FOLDER": str(self.load.fleet.folder),
            **environment,
        }
        self.started += 1
        with self.log.open("ab") as output:
            command = [sys.executable, "-m", "bench.faults.worker"]
            self.workers.append(subprocess.Popen(command, stderr=output, env=values))

    async def wait_until_ready(self) -> None:
        """Wait until all workers that were started are ready."""
        while self.log.read_text().count("The worker is ready") < self.started:
            for each in self.workers:
                assert each.poll() is None, f"a worker ended with {each.poll()}: {self.log}"
            await anyio.sleep(0.2)

    def kill_worker(self) -> None:
        victim = random.choice(self.workers)
        self.workers.remove(victim)
        victim.kill()
        victim.wait()

    def kill_all(self) -> None:
        for each in self.workers:
            each.kill()
            each.wait()

    def end_workers(self) -> list[int]:
        for each in self.workers:
            each.terminate()
        return [each.wait(60) for each in self.workers]

    async def ask(self, query: str) -> list[tuple[object, ...]]:
        """Ask the database, in a connection of its own."""

        def ask() -> list[tuple[object, ...]]:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                connection.execute("SET search_path = mailslot, mailslot_wakeups")
                found = connection.execute(query.encode())
                return found.fetchall() if found.description else []

        return await run_sync(ask)

"""PostgreSQL clusters that can be killed, followed and promoted, and PgBouncer in front of one."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bench.servers  # noqa: F401 - it finds the lab
from lab.postgres import USER, programs
from lab.process import free_ports, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PGBOUNCER: Final = Path("/usr/sbin/pgbouncer")


def own(folder: Path) -> None:
    """Give a folder to the user of the database."""
    if os.geteuid() == 0:
        owner = pwd.getpwnam(USER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)


class Cluster:
    """A cluster on 127.0.0.1.

    Args:
        folder: its folder, which does not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        found = programs()
        assert found is not None, "PostgreSQL is missing"
        self.folder = folder
        [self.port] = free_ports(1)
        self._programs = found
        folder.mkdir()
        own(folder)

    def create(self, **settings: str) -> None:
        """Create it; what it has committed is on the disk."""
        self._run(
            "initdb", "-D", self.data, "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C.UTF-8"
        )
        self._configure(**settings)

    def follow(self, primary: Cluster) -> None:
        """Make it a standby of another one, as it is now."""
        server = ("-h", "127.0.0.1", "-p", primary.port, "-U", USER)
        self._run("pg_basebackup", *server, "-D", self.data, "-R", "-X", "stream", "-c", "fast")
        self._configure()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "300", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `immediate` without a checkpoint, so that it recovers when it starts; `fast` in order."""
        self._run("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "300", "stop")

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "300", "promote")

    @property
    def server(self) -> int:
        """The number of its main process."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def receiver(self) -> int:
        """The number of the process by which a standby receives what the primary commits."""
        found = [each for each in children(self.server) if b"walreceiver" in Path(f"/proc/{each}/cmdline").read_bytes()]
        return found[0]

    def kill(self) -> None:
        """Kill all its processes, as when its machine loses power, but for what the system had not written yet."""
        server = self.server
        for process in (server, *children(server)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{server}").exists())

    def is_running(self) -> bool:
        return self._run("pg_ctl", "-D", self.data, "status", check=False) == 0

    def end(self) -> None:
        """Stop it if it runs."""
        if self.data.exists() and self.is_running():
            self.stop()

    def _configure(self, **settings: str) -> None:
        values = {
            "port": str(self.port),
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": "''",
            "shared_buffers": "64MB",
            "max_connections": "200",
            **settings,
        }
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in values.items())

    def _run(self, program: str, *arguments: object, check: bool = True) -> int:
        user = USER if os.geteuid() == 0 else None
        with (self.folder / "commands.log").open("ab") as log:
            ended = subprocess.run(
                [self._programs / program, *map(str, arguments)],
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                # A server that pg_ctl starts keeps what it inherits.
                stdout=log,
                stderr=log,
                check=False,
            )
        assert not check or ended.returncode == 0, f"{program}: {(self.folder / 'commands.log').read_text()[-2000:]}"
        return ended.returncode


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(stat.parent.name))
    return found


@contextmanager
def pooler(folder: Path, port: int, database: str) -> Iterator[int]:
    """Run PgBouncer in transaction mode in front of a database, with few connections; yield its port."""
    [own_port] = free_ports(1)
    folder.mkdir()
    own(folder)
    (folder / "users").write_text(f'"{USER}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{database} = host=127.0.0.1 port={port} dbname={database}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own_port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder / 'users'}\npool_mode = transaction\n"
        "default_pool_size = 12\nmax_client_conn = 200\n"
    )
    if os.geteuid() == 0:
        shutil.chown(folder / "users", USER)
        shutil.chown(folder / "pgbouncer.ini", USER)
    user = USER if os.geteuid() == 0 else None
    with running([PGBOUNCER, folder / "pgbouncer.ini"], ports=[own_port], log=folder / "log", user=user):
        yield own_port


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Callable[[], Callable[[], None]]]:
    """A file system of its own in a folder; yield what fills it, and returns what empties it again."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", folder], check=True)

    def fill() -> Callable[[], None]:
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(65_536))
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x")
        return filler.unlink

    try:
        yield fill
    finally:
        for _ in range(50):
            if subprocess.run(["umount", folder], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.2)

"""PostgreSQL, from Debian's packages, in a folder and on a port of its own; and a fleet in it."""

from __future__ import annotations

import itertools
import os
import pwd
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab.process import free_ports, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailslot.fleet.postgres.home import PostgresHome

USER = "postgres"

# SIGTERM lets PostgreSQL wait for its clients, and those of a test that failed may never end; SIGINT does not.
SERVE = "trap 'kill -INT $server' TERM; \"$@\" & server=$!; wait $server; wait $server"

# Nothing has to survive a power cut, unless a test is about that.
SETTINGS = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off", "shared_buffers": "32MB"}


def programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@dataclass
class Postgres:
    """A server.

    Attributes:
        folder: its folder.
        port: the port of 127.0.0.1 that it listens on.
    """

    folder: Path
    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str = USER, user: str = USER) -> str:
        """The address of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def is_ready(self) -> bool:
        """Whether it lets clients in."""
        import psycopg  # noqa: PLC0415 - it comes with an extra

        try:
            psycopg.connect(self.url()).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, template: str = "template1") -> str:
        """Create a database, and return its address."""
        import psycopg  # noqa: PLC0415 - it comes with an extra

        name = f"test{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)


@contextmanager
def start_postgres(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """Run a server until the end of the block; `more` are settings besides `SETTINGS`, or in their place."""
    found = programs()
    assert found is not None
    user = USER if os.geteuid() == 0 else None
    folder.mkdir()
    if user is not None:
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    arguments = ["--no-sync", "--no-instructions", "--auth=trust", f"--username={USER}", "--encoding=UTF8"]
    subprocess.run(
        [found / "initdb", "-D", folder / "data", "--locale=C.UTF-8", *arguments],
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        check=True,
        capture_output=True,
    )
    [port] = free_ports(1)
    settings = {
        **SETTINGS,
        **(more or {}),
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = ["/bin/sh", "-c", SERVE, "sh", found / "postgres", "-D", folder / "data", *options]
    with running(command, ports=[port], log=folder.with_suffix(".log"), user=user):
        server = Postgres(folder, port)
        # It listens before it lets anybody in.
        wait_until(server.is_ready)
        yield server


class Fleet:
    """A fleet in a database, with a device for each test.

    Args:
        url: the address of the database.
        folder: a folder for the master key and the devices' folders.
    """

    def __init__(self, url: str, folder: Path) -> None:
        from mailslot.fleet.master_key import FileMasterKey  # noqa: PLC0415 - it needs an extra
        from mailslot.fleet.postgres.database import FleetDatabase  # noqa: PLC0415
        from mailslot.fleet.postgres.registry import Registry  # noqa: PLC0415

        self.url, self.folder = url, folder
        self.database = FleetDatabase(url)
        self.master = FileMasterKey(folder / "master.key")
        self.master.create()
        self.registry = Registry(self.database)
        self.registry.init()
        self._numbers = itertools.count(1)

    def add_device(self, tenant: str = "acme") -> PostgresHome:
        """Add a device, and return its home."""
        name = f"copier-{next(self._numbers)}"
        self.registry.add(tenant, name, self.master)
        return self.home(tenant, name)

    def home(self, tenant: str, name: str) -> PostgresHome:
        """Return the home of a device, as another process would have it."""
        from mailslot.fleet.address import DeviceAddress  # noqa: PLC0415 - it needs an extra
        from mailslot.fleet.postgres.home import PostgresHome, find_device  # noqa: PLC0415

        address = DeviceAddress(self.url, tenant, name)
        folder = self.folder / tenant / name
        return PostgresHome(self.database, find_device(self.database, tenant, name), address, self.master, folder)

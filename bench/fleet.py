"""Measure a fleet: ``python -m bench.fleet [--devices 1000] [--minutes 2] [--messages 1000] …``.

Devices with mailboxes that stay empty are polled over TLS with OAuth by real workers, and their tokens renewed;
messages are put into their queues at a rate, and delivered. A PostgreSQL is started for it, with everything on the disk
as it ships. Times depend on what else the machine does. The processor time, statements and commits of a poll hardly do.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import psycopg
import trustme
from psycopg.rows import dict_row

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / folder) for folder in ("tests", "transport")]

from bench.fleet_devices import RECORD, Ports, add_devices  # noqa: E402 - the lab of the tests is no package of ours
from lab.postgres import Fleet, Postgres, start_postgres  # noqa: E402
from lab.process import free_ports, running  # noqa: E402
from mailslot.message import Message  # noqa: E402
from mailslot.spool.job import NewJob  # noqa: E402
from mailslot.spool.spool import Spool  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
SIZE = 200_000
"""Octets of a message."""
LOOK_EVERY = 5.0
"""Seconds between two looks at the memory of the workers."""

# The database as it ships, other than in the tests, and with its statistics.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "shared_preload_libraries": "pg_stat_statements",
}

# How late each task was when its work was done, told by the database itself.
WATCH = """
    CREATE EXTENSION pg_stat_statements;
    CREATE TABLE settled (kind text, at timestamptz, late double precision, cause text);
    GRANT INSERT ON settled TO mailslot_device;
    CREATE FUNCTION note_settled() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS
        $$ BEGIN
            INSERT INTO settled VALUES (OLD.kind, now(), extract(epoch FROM now() - OLD.due_at), NEW.cause);
            RETURN NULL;
        END $$;
    CREATE TRIGGER note_settled AFTER UPDATE OF due_at ON mailslot.tasks FOR EACH ROW
        WHEN (OLD.due_at <= now() AND NEW.due_at > OLD.due_at) EXECUTE FUNCTION note_settled();
"""
LATENESS = """
    SELECT kind, count(*) AS number, count(cause) AS failed, max(late) AS longest,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY late) AS median,
        percentile_cont(0.99) WITHIN GROUP (ORDER BY late) AS p99
    FROM settled GROUP BY kind ORDER BY kind
"""
MINUTES = """
    SELECT floor(extract(epoch FROM at - min(at) OVER ()) / 60)::integer AS minute, late FROM settled
"""
BY_MINUTE = f"""
    SELECT minute, count(*) AS number, percentile_cont(0.5) WITHIN GROUP (ORDER BY late) AS median, max(late) AS longest
    FROM ({MINUTES}) AS minutes GROUP BY minute ORDER BY minute
"""
STATEMENTS = """
    SELECT sum(calls)::bigint AS calls, sum(total_exec_time) AS milliseconds,
        (SELECT sum(xact_commit)::bigint FROM pg_stat_database) AS commits
    FROM pg_stat_statements WHERE query NOT LIKE '%settled%'
"""
TOP = """
    SELECT calls, total_exec_time AS milliseconds, regexp_replace(left(query, 150), '\\s+', ' ', 'g') AS query
    FROM pg_stat_statements ORDER BY calls DESC LIMIT %s
"""


@dataclass
class Usage:
    """What processes have used: seconds of a processor."""

    workers: float
    database: float

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.workers - other.workers, self.database - other.database)


@dataclass
class Bench:
    """A fleet with its servers and workers."""

    fleet: Fleet
    postgres: Postgres
    folder: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def start_workers(self, number: int, tasks: int) -> None:
        for _ in range(number):
            with (self.folder / "workers.log").open("ab") as log:
                command = [Path(sys.executable).with_name("mailslot"), "fleet", "worker", "--tasks", str(tasks)]
                self.workers.append(subprocess.Popen(command, stderr=log, env=self.environment))

    def query(self, text: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.fleet.url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(text.encode(), values or None).fetchall()

    def execute(self, text: str) -> None:
        with psycopg.connect(self.fleet.url, autocommit=True) as connection:
            connection.execute(text.encode())

    def count(self, condition: str) -> int:
        return self.query(f"SELECT count(*) AS number FROM mailslot.tasks WHERE {condition}")[0]["number"]

    def usage(self) -> Usage:
        master = int((self.postgres.folder / "data" / "postmaster.pid").read_text().split()[0])
        return Usage(sum(_seconds(each.pid) for each in self.workers), _seconds(master, with_children=True))

    def note_memory(self) -> None:
        """Note the memory of all workers, shared pages by their share, in MB."""
        pss = [Path(f"/proc/{each.pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0] for each in self.workers]
        self.memory.append(sum(map(int, pss)) / 1_000)

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(60)


def _seconds(process: int, *, with_children: bool = False) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15] if with_children else fields[11:13])) / TICK
    if not with_children:
        return own
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return own + sum(_seconds_or_none(int(child)) for child in children)


def _seconds_or_none(process: int) -> float:
    try:
        return _seconds(process)
    except FileNotFoundError:
        return 0.0  # it has ended meanwhile, and counts as a child that has ended


@dataclass
class Senders:
    """Puts messages into the queues of random devices, at a rate, in a thread of its own."""

    fleet: Fleet
    devices: list[tuple[str, str]]
    a_minute: float
    accepted: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        anyio.run(self._run)

    async def _run(self) -> None:
        text = "What a device has to say, line by line, and every line as long as others.\n" * (SIZE // 74)
        began = time.monotonic()
        while not self.ended.is_set():
            if self.accepted >= (time.monotonic() - began) * self.a_minute / 60:
                await anyio.sleep(0.02)
                continue
            home = self.fleet.home(*random.choice(self.devices))
            async with Spool(home) as spool:
                job = NewJob("scan", "smtp", "scanner@example.com", ["someone@example.org"], "a page", 86_400.0)
                await spool.accept(job, Message(sender="scanner@example.com", to=["someone@example.org"], text=text))
            self.accepted += 1


def prepare(stack: ExitStack, folder: Path, options: argparse.Namespace) -> Bench:
    """Start the servers, and fill the fleet."""
    authority = trustme.CA()
    certificate, trusted = folder / "server.pem", folder / "trusted.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    trusted.write_bytes(Path(system).read_bytes() + authority.cert_pem.bytes())
    ports = free_ports(6)
    servers = (("fleet_servers.py", ports[:3], [certificate, options.lifetime]), ("sink.py", ports[3:], [certificate]))
    for script, own, more in servers:
        command = [sys.executable, HERE / script, *map(str, [*own, *more])]
        stack.enter_context(running(command, ports=own, log=folder / f"{script}.log"))
    postgres = stack.enter_context(start_postgres(folder / "postgres", SETTINGS))
    fleet = Fleet(postgres.create_database(), folder)
    stack.callback(fleet.database.close)
    # Tokens that were obtained at different times end at different times.
    lifetimes = [60 + options.lifetime * place / 97 for place in range(97)]
    began = time.monotonic()
    add_devices(
        fleet,
        options.devices,
        options.tenants,
        Ports(pop=ports[1], tokens=ports[2], smtp=ports[3]),
        interval=options.interval,
        lifetimes=lifetimes,
    )
    print(f"{options.devices:,} devices of {options.tenants:,} tenants added in {time.monotonic() - began:.1f} s")
    environment = {
        **os.environ,
        "MAILSLOT_DATABASE": fleet.url,
        "MAILSLOT_MASTER_KEY": str(folder / "master.key"),
        "XDG_DATA_HOME": str(folder / "data"),
        "SSL_CERT_FILE": str(trusted),
        "NO_PROXY": "*",
    }
    bench = Bench(fleet, postgres, folder, environment)
    bench.execute(WATCH)
    return bench


def plan_at_once(bench: Bench, options: argparse.Namespace) -> None:
    """Write the polls and renewals of all devices, spread over their time, as the workers would find them out."""
    for kind, seconds, period in (
        ("poll", options.interval * 60, options.interval * 60),
        ("renew", options.lifetime * 0.8, 0),
    ):
        bench.execute(
            "INSERT INTO mailslot.tasks (tenant, device, record, kind, due_at, wake_at, period) "
            f"SELECT tenant, device, '{RECORD}', '{kind}', at, at, {period} FROM (SELECT tenant, id AS device, "
            f"now() + random() * {seconds} * interval '1 s' AS at FROM mailslot.devices) AS devices"
        )
    bench.execute("DELETE FROM mailslot.tasks WHERE kind = 'plan'")


def wait_until_planned(bench: Bench, devices: int) -> None:
    """Wait until the polls and renewals of all devices are known."""
    began, used = time.monotonic(), bench.usage()
    while bench.count("kind = 'plan'") or bench.count("kind = 'poll'") < devices:
        time.sleep(0.5)
    cost, seconds = bench.usage() - used, time.monotonic() - began
    print(f"planned, from the start of the workers, in {seconds:.1f} s, {devices / seconds:.0f} a second; ", end="")
    print(costs(cost, devices))


def costs(cost: Usage, number: int) -> str:
    """Say what one of a number of things has cost."""
    worker, database = cost.workers / number * 1e3, cost.database / number * 1e3
    return f"{worker:.1f} ms of a worker and {database:.1f} ms of the database each"


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Let the workers work for some minutes; return what was measured."""
    names = bench.query(
        "SELECT tenants.name AS tenant, devices.name AS device FROM mailslot.devices "
        "JOIN mailslot.tenants ON tenants.id = devices.tenant"
    )
    senders = Senders(bench.fleet, [(each["tenant"], each["device"]) for each in names], options.messages)
    thread = threading.Thread(target=senders.run, daemon=True)
    bench.execute("SELECT pg_stat_statements_reset(); TRUNCATE settled")
    before, commits, wal = bench.usage(), bench.query(STATEMENTS)[0]["commits"], _wal(bench)
    began = time.monotonic()
    if options.messages:
        thread.start()
    while time.monotonic() < began + options.minutes * 60:
        bench.note_memory()
        time.sleep(min(LOOK_EVERY, options.minutes * 6))
    senders.ended.set()
    if options.messages:
        thread.join()
    cost, statements, seconds = bench.usage() - before, bench.query(STATEMENTS)[0], time.monotonic() - began
    lateness = {row.pop("kind"): row for row in bench.query(LATENESS)}
    sent = bench.query("SELECT count(*) AS number FROM mailslot.jobs WHERE state = 'sent'")[0]["number"]
    return {
        "devices": options.devices,
        "tenants": options.tenants,
        "workers": options.workers,
        "seconds": seconds,
        "load": os.getloadavg()[0],
        "late_now": bench.count(f"kind = 'poll' AND due_at < now() - interval '{options.interval} minutes'"),
        "tasks": lateness,
        "accepted": senders.accepted,
        "sent": sent,
        "worker_seconds": cost.workers,
        "database_seconds": cost.database,
        "statements": statements["calls"],
        "commits": statements["commits"] - commits,
        "wal_megabytes": (_wal(bench) - wal) / 1e6,
        "memory_megabytes": bench.memory[:: max(round(60 / LOOK_EVERY), 1)],
        "by_minute": bench.query(BY_MINUTE),
    }


def _wal(bench: Bench) -> int:
    return int(bench.query("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS octets")[0]["octets"])


def show(bench: Bench, result: dict[str, Any], options: argparse.Namespace) -> None:
    """Print what was measured."""
    print(f"{result['seconds']:.0f} s at load {result['load']:.1f}, {result['workers']} workers:")
    for kind, row in result["tasks"].items():
        late = f"late by {row['median']:.1f} s, {row['p99']:.1f} s (p99), {row['longest']:.1f} s at the most"
        print(f"  {kind:8} {row['number']:7,}, {row['failed']} failed; {late}")
    print(f"  polls that are late by an interval now: {result['late_now']}")
    if result["accepted"]:
        print(f"  {result['accepted']:,} messages of {SIZE // 1000} kB accepted, {result['sent']:,} sent")
    done = sum(row["number"] for row in result["tasks"].values())
    print(f"  processors: {result['worker_seconds']:.1f} s workers, {result['database_seconds']:.1f} s database")
    if done:
        each = Usage(result["worker_seconds"], result["database_seconds"])
        print(f"  a task: {costs(each, done)}; {result['statements'] / done:.1f} statements, ", end="")
        print(f"{result['commits'] / done:.1f} commits, {result['wal_megabytes'] / done * 1e3:.1f} kB of log")
    print("  memory of the workers, each minute, in MB:", *(f"{each:.0f}" for each in result["memory_megabytes"]))
    print(
        "  tasks by the minute: ",
        "; ".join(
            f"{row['number']:,} late by {row['median']:.1f}, at most {row['longest']:.1f} s"
            for row in result["by_minute"]
        ),
    )
    for row in bench.query(TOP, options.statements) if options.statements else ():
        print(f"  {row['calls']:9,} {row['milliseconds']:9,.0f} ms  {row['query']}")


def main() -> int:
    """Measure; return 1 if a poll was late by more than its interval, or a renewal by 30 s."""
    parser = argparse.ArgumentParser(
        prog="bench.fleet", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=1_000, help="devices, each with one mailbox (1000)")
    parser.add_argument("--tenants", type=int, default=20, help="tenants that have them (20)")
    parser.add_argument("--interval", type=int, default=5, help="minutes between two polls of a mailbox (5)")
    parser.add_argument("--lifetime", type=int, default=3_600, help="seconds that an access token lasts (3600)")
    parser.add_argument("--messages", type=float, default=0, help="messages of 200 kB a minute, over all devices (0)")
    parser.add_argument("--minutes", type=float, default=2, help="how long to measure (2)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--tasks", type=int, default=20, help="tasks that each works for at a time (20)")
    parser.add_argument("--statements", type=int, default=0, metavar="N", help="show the N most frequent statements")
    parser.add_argument("--planned", action="store_true", help="do not have the workers plan all devices first")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        folder.chmod(0o711)
        bench = prepare(stack, folder, options)
        stack.callback(bench.stop_workers)
        if options.planned:
            plan_at_once(bench, options)
        bench.start_workers(options.workers, options.tasks)
        wait_until_planned(bench, options.devices)
        result = measure(bench, options)
        show(bench, result, options)
        if options.json:
            print(json.dumps(result, indent=1))
    tasks = result["tasks"]
    late = tasks.get("poll", {}).get("longest", 0) > options.interval * 60 or tasks.get("renew", {}).get("p99", 0) > 30
    return int(late or result["late_now"] > 0)


if __name__ == "__main__":
    sys.exit(main())

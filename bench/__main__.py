"""Measure mailslot against other clients, on the same servers, in one run: ``python -m bench``.

Only ratios mean something; the absolute figures are those of this machine in this hour. Peers that are not installed
are left out: ``pip install aiosmtplib smtpproto pycurl``, ``npm install --prefix bench``, ``apt-get install mpop``.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import Row, judge, middle, show
from bench.servers import HERE, MAILBOXES, MissingError, Servers
from bench.task import Task
from bench.works import WORKS, Client, Work

QUICK = 0.1
"""The part of each work that ``--quick`` does."""

PATHS = [HERE.parent, HERE.parent / "transport"]

# What `import` costs, without Python itself.
IMPORT = """
from time import process_time
start = process_time()
import {name}
seconds = process_time() - start
print('{{"seconds": %f, "memory": %f}}' % (
    seconds, int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024 / 1e6))
"""


def installed(client: Client) -> bool:
    """Whether a client is there to be measured."""
    if client.peer == "nodemailer.cjs":
        return shutil.which("node") is not None and (HERE / "node_modules" / "nodemailer").is_dir()
    if client.peer == "mpop":
        return shutil.which("mpop") is not None
    module = {"ours": "mailslot", "libcurl": "pycurl", "standard_library": "smtplib"}.get(client.peer, client.peer)
    return importlib.util.find_spec(module) is not None


class Bench:
    """A run of some works."""

    def __init__(self, folder: Path, servers: Servers, scale: float) -> None:
        self._folder = folder
        self._servers = servers
        self._scale = scale

    def task(self, work: Work, client: Client) -> Task:
        """What a client is to do, with a place of its own to do it."""
        task = Task(**work.task | client.settings)
        if work.scaled and task.count > 1:
            task.count = self.messages(work)
            task.per_session = 1 if task.per_session == 1 else task.count // task.parallel
        task.size = self.size(work)
        self._servers.at(task, work.server, work.delay)
        if task.source == "file":
            task.path = str(self._scan(task.size))
        if task.kind == "fetch":
            task.folder = tempfile.mkdtemp(dir=self._folder)
        return task

    def _scan(self, size: int) -> Path:
        path = self._folder / f"scan-{size}.pdf"
        if not path.exists():
            with path.open("wb") as file:
                for start in range(0, size, 1_000_000):
                    file.write(os.urandom(min(1_000_000, size - start)))
        return path

    def measure(self, work: Work, client: Client) -> dict[str, float | None]:
        """Run one client once."""
        if work.server == "":
            return self._output([sys.executable, "-c", IMPORT.format(name=client.peer)])
        task = self.task(work, client)
        node = client.peer.endswith(".cjs")
        command = ["node", HERE / "peers" / client.peer] if node else [sys.executable, "-m", "bench.child", client.peer]
        result = self._output([*command, task.to_json()])
        if task.folder:
            got = [file for file in Path(task.folder).rglob("*") if file.is_file() and file.stat().st_size > 1_000]
            assert len(got) == self.messages(work), f"{client.name} fetched {len(got)} messages"
            shutil.rmtree(task.folder)
        return result

    def _output(self, command: list[str | Path]) -> dict[str, float | None]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))}
        # Installed modules are compiled already, and so are ours after their first run.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(self._folder / "compiled")
        # Where a client takes its own context, it is the system's with our authority besides.
        environment["SSL_CERT_FILE"] = str(self._servers.everybody)
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)

    def messages(self, work: Work) -> int:
        """How many messages a work is about."""
        if work.server in MAILBOXES:
            return int(MAILBOXES[work.server][0] * self._scale)
        if work.server == "":
            return 0
        count, parallel = work.task.get("count", 1), work.task.get("parallel", 1)
        return max(int(count * self._scale), parallel) if work.scaled and count > 1 else count

    def size(self, work: Work) -> int:
        """How many octets each of them has."""
        size = work.task.get("size", 2_048)
        return int(size * self._scale) if work.scaled and size > 2_048 else size

    def row(self, work: Work, client: Client, runs: list[dict[str, float | None]]) -> Row:
        """Sum up all runs of one client."""
        seconds = middle(runs, "seconds") or 0
        size = MAILBOXES[work.server][1] if work.server in MAILBOXES else self.size(work)
        return Row(
            work=work.name,
            client=client.name,
            seconds=seconds,
            messages=self.messages(work),
            octets=self.messages(work) * size,
            trips=seconds / (2 * work.delay) if "trips" in work.limits else None,
            memory=middle(runs, "memory"),
            gap=middle(runs, "gap"),
        )


def say(text: str) -> None:
    """Tell the person who waits what is going on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Measure what the command line asks for; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", action="append", help="works whose name holds TEXT; may be repeated")
    parser.add_argument("--quick", action="store_true", help=f"do {QUICK:.0%} of each work, once")
    parser.add_argument("--runs", type=int, default=3, help="runs of each client, in turn with the others (3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    runs, scale = (1, QUICK) if arguments.quick else (arguments.runs, 1.0)

    rows: list[Row] = []
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        with Servers(folder, scale) as servers:
            bench = Bench(folder, servers, scale)
            for work in WORKS:
                if arguments.only and not any(text in work.name for text in arguments.only):
                    continue
                clients = [client for client in work.clients if work.server == "" or installed(client)]
                results: dict[str, list[dict[str, float | None]]] = {client.name: [] for client in clients}
                try:
                    for run in range(runs):
                        for client in clients:
                            say(f"{work.name}: {client.name}, run {run + 1}")
                            results[client.name].append(bench.measure(work, client))
                except MissingError as error:
                    say(f"{work.name}: left out, for {error} is missing\n")
                    continue
                done = [bench.row(work, client, results[client.name]) for client in clients]
                judge(work, done)
                rows += done
    say("")
    if arguments.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1, ensure_ascii=False))
    else:
        show(rows)
    return 0 if all(all(row.targets.values()) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measure mailslot against other clients, on the same servers, in one run: ``python -m bench``.

Only the ratios are meaningful; absolute figures depend on the machine and its load. Peers that are not installed
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
from contextlib import ExitStack
from pathlib import Path

from bench.report import Row, judge, show
from bench.scenarios import SCENARIOS, Client, Scenario
from bench.servers import HERE, MAILBOXES, MissingError, Servers
from bench.task import Task

QUICK = 0.1
"""The part of each scaled scenario that ``--quick`` runs."""

# What an import costs, without Python itself.
IMPORT = """
from time import process_time
start = process_time()
import {name}
seconds = process_time() - start
peak = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
print('{{"seconds": %f, "memory": %f}}' % (seconds, int(peak) * 1024 / 1e6))
"""


def installed(client: Client) -> bool:
    """Tell whether a client is installed."""
    if client.peer == "nodemailer.cjs":
        return shutil.which("node") is not None and (HERE / "node_modules" / "nodemailer").is_dir()
    if client.peer == "mpop":
        return shutil.which("mpop") is not None
    modules = {"ours": "mailslot", "libcurl": "pycurl", "standard_library": "smtplib"}
    return importlib.util.find_spec(modules.get(client.peer, client.peer)) is not None


class Bench:
    """Runs scenarios."""

    def __init__(self, folder: Path, servers: Servers, scale: float) -> None:
        self._folder, self._servers, self._scale = folder, servers, scale
        # A client that creates its own TLS context trusts our authority too, and all modules are compiled.
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parent / "transport")]),
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
            "SSL_CERT_FILE": str(servers.all_authorities),
        }

    def message_count_and_size(self, scenario: Scenario) -> tuple[int, int]:
        """Return the number of messages of a scenario, and the octets of each."""
        count, size = MAILBOXES.get(scenario.server, (scenario.task.get("count", 0), scenario.task.get("size", 2_048)))
        return (int(count * self._scale) if scenario.scaled else count), size

    def measure(self, scenario: Scenario, client: Client) -> dict[str, float | None]:
        """Run one client once."""
        if not scenario.server:
            return self._output([sys.executable, "-c", IMPORT.format(name=client.peer)])
        task = Task(**scenario.task | client.settings)
        task.count, task.size = self.message_count_and_size(scenario)
        self._servers.locate(task, scenario.server, scenario.delay)
        if task.source == "file":
            task.path = str(self._file(task.size))
        if task.kind == "fetch":
            task.folder = tempfile.mkdtemp(dir=self._folder)
        node = client.peer.endswith(".cjs")
        program = ["node", HERE / "peers" / client.peer] if node else [sys.executable, "-m", "bench.task", client.peer]
        result = self._output([*program, json.dumps(dataclasses.asdict(task))])
        if task.folder:
            got = [path for path in Path(task.folder).rglob("*") if path.is_file() and path.stat().st_size > 1_000]
            assert len(got) == task.count, f"{client.name} fetched {len(got)} messages"
            shutil.rmtree(task.folder)
        self._servers.wait_until_idle()
        return result

    def _file(self, size: int) -> Path:
        path = self._folder / f"{size}.pdf"
        if not path.exists():
            with path.open("wb") as file:
                for start in range(0, size, 1_000_000):
                    file.write(os.urandom(min(1_000_000, size - start)))
        return path

    def _output(self, command: list[str | Path]) -> dict[str, float | None]:
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=self._environment)
        return json.loads(run.stdout)


def show_progress(text: str) -> None:
    """Show the progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(bench: Bench, scenarios: list[Scenario], runs: int) -> list[Row]:
    """Measure the scenarios, with the clients in turn."""
    rows: list[Row] = []
    for scenario in scenarios:
        clients = [client for client in scenario.clients if not scenario.server or installed(client)]
        results: list[list[dict[str, float | None]]] = [[] for _ in clients]
        try:
            for number in range(runs):
                for client, result in zip(clients, results, strict=True):
                    show_progress(f"{scenario.name}: {client.name}, run {number + 1}")
                    result.append(bench.measure(scenario, client))
        except MissingError as error:
            print(f"{scenario.name}: left out, for {error} is missing", file=sys.stderr)
            continue
        count, size = bench.message_count_and_size(scenario)
        trip = 2 * scenario.delay if "trips" in scenario.limits else 0.0
        done = [Row(scenario.name, c.name, r, count, count * size, trip) for c, r in zip(clients, results, strict=True)]
        judge(scenario, done)
        rows += done
    show_progress("")
    return rows


def main() -> int:
    """Run the requested measurements; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--only", metavar="TEXT", action="append", help="scenarios whose name holds TEXT; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help=f"do a {1 / QUICK:.0f}th of each long scenario, and once")
    parser.add_argument("--runs", type=int, default=3, help="runs of each client, whose medians count (3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    runs, scale = (1, QUICK) if arguments.quick else (arguments.runs, 1.0)
    scenarios = [
        scenario
        for scenario in SCENARIOS
        if not arguments.only or any(text in scenario.name for text in arguments.only)
    ]
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory, ignore_cleanup_errors=True)))
        folder.chmod(0o711)
        rows = run(Bench(folder, Servers(folder, scale, stack), scale), scenarios, runs)
    if arguments.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1, ensure_ascii=False))
    else:
        show(rows)
    return 0 if all(all(row.targets.values()) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measure the answers to status requests by mail: ``python -m bench.status [--requests N] [--json]``.

The requests wait in a mailbox, and `mailslot serve` fetches, opens and answers them, and deletes them there. What is
measured is the time from its first connection to the last answer that the SMTP server has accepted. Each server is a
process of its own. The spool is on a real disk: the one that has the system's temporary files, or `--folder`.

The counts come from two further runs, in which the service counts its calls; what it does once cancels out.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme

from bench.relays import ROOT, TICK, Relay
from bench.status_servers import PASSWORD, SENDERS, USER
from lab.process import free_ports, running

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
GOAL = 20.0
"""Seconds for a thousand."""

COUNTED = (20, 120)
"""The requests of the two runs that are counted; a hundred more in the second."""


@contextmanager
def servers(folder: Path, requests: int) -> Iterator[tuple[int, int, int, int]]:
    """Run both servers; yield their ports, and those for their figures."""
    ports = pop3, smtp, *figures = free_ports(4)
    with ExitStack() as stack:
        for role, each, told in (("pop3", pop3, figures[0]), ("smtp", smtp, figures[1])):
            command = [sys.executable, HERE / "status_servers.py", role, each, told, folder / "server.pem", requests]
            log = folder / f"{role}.log"
            stack.enter_context(running([str(part) for part in command], ports=[told], log=log))
        yield ports


def figures_of(port: int) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile() as lines:
        return json.loads(lines.readline())


def set_up(home: Path, authority: Path, pop3: int, smtp: int) -> None:
    home.mkdir()
    (home / "mailslot.toml").write_text(
        '[device]\nname = "Copier"\nmodel = "BP-1"\n'
        f'[records.status-pop]\nserver = "localhost"\nport = {pop3}\nsecurity = "tls"\nauthentication = "password"\n'
        f'account = "{USER}"\nca_file = "{authority}"\nfirst_poll = "all"\ncheck_interval = 1\n'
        f'[records.alert-smtp]\nserver = "localhost"\nport = {smtp}\nsecurity = "none"\nsender_address = "{USER}"\n'
        '[status]\nallowed_senders = ["@office.example"]\nanswers_per_sender = 100\nanswers_per_hour = 1000\n'
    )
    mailslot = Path(sys.executable).with_name("mailslot")
    command = [mailslot, "--home", home, "set", "status.pop", "password=-"]
    subprocess.run(command, check=True, input=PASSWORD, text=True, capture_output=True)


def answer(folder: Path, requests: int, backend: str, *, counted: bool = False) -> dict[str, Any]:
    """Have requests answered; return the figures."""
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    with servers(folder, requests) as (pop3, smtp, pop3_figures, smtp_figures):
        set_up(folder / "home", folder / "ca.pem", pop3, smtp)
        command = [Path(sys.executable).with_name("mailslot")]
        if counted:
            command = [sys.executable, "-m", "bench.counting", folder / "counts.json"]
        command += ["--home", folder / "home", "serve", "--backend", backend]
        paths = os.pathsep.join(map(str, [ROOT, ROOT / "transport", ROOT / "plugins"]))
        with (folder / "serve.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": paths})
            try:
                service, before, answers = Relay(process), (0.0, 0.0, 0.0), 0
                while answers < requests:
                    if process.poll() is not None:
                        raise RuntimeError((folder / "serve.log").read_text())
                    if not figures_of(pop3_figures)["connections"]:
                        # What its start costs is not counted.
                        before = processor_seconds(service)
                    answers = figures_of(smtp_figures)["messages"]
                    time.sleep(0.02 if not answers else 0.2)
                # Mails are deleted, and the last answers marked as sent.
                while figures_of(pop3_figures)["messages"] < requests:
                    time.sleep(0.05)
                all_of_it, user, system = (
                    1e3 * (now - then) / requests for now, then in zip(processor_seconds(service), before, strict=True)
                )
                switches = context_switches(service)
            finally:
                process.terminate()
                process.wait(60)
        fetched, sent = figures_of(pop3_figures), figures_of(smtp_figures)
    assert sent["messages"] == requests, sent
    assert set(sent["recipients"].values()) <= {requests // SENDERS, requests // SENDERS + 1}, sent
    return {
        "requests": requests,
        "backend": backend,
        "seconds": round(sent["last"] - fetched["first"], 3),
        "processor_ms": round(all_of_it, 2),
        "of_the_service": round(user + system, 2),
        "in_the_system": round(system, 2),
        "context_switches": round(switches / requests, 1),
        "pop3_connections": fetched["connections"] / requests,
        "smtp_connections": sent["connections"] / requests,
        "counts": json.loads((folder / "counts.json").read_text()) if counted else {},
    }


def processor_seconds(service: Relay) -> tuple[float, float, float]:
    """What all processes have used; what the service itself has used, and what the system has for it."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    user, system = (int(each) / TICK for each in fields[11:13])
    return service.processor_seconds(), user, system


def context_switches(service: Relay) -> int:
    """How often the threads of the service itself have waited for something (proc(5))."""
    tasks = Path(f"/proc/{service.process.pid}/task").glob("*/status")
    return sum(int(task.read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0]) for task in tasks)


def counts_of(folder: Path, backend: str) -> dict[str, float]:
    """Return the calls for an answer."""
    few, many = (answer(folder / f"counted-{each}", each, backend, counted=True)["counts"] for each in COUNTED)
    return {what: round((many[what] - few.get(what, 0)) / (COUNTED[1] - COUNTED[0]), 2) for what in sorted(many)}


def main() -> int:
    """Measure; return 1 where it takes too long."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.status", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1_000, help="at most 1,000, which are answered in an hour")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--folder", type=Path, help="where the spool is; its disk is measured, too")
    parser.add_argument("--without-counts", action="store_true", help="leave the two further runs out")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder, ignore_cleanup_errors=True) as made:
        folder = Path(made)
        found = answer(folder / "measured", arguments.requests, arguments.backend)
        found["counts"] = {} if arguments.without_counts else counts_of(folder, arguments.backend)
    found["load"] = round(os.getloadavg()[0], 1)
    goal = GOAL * arguments.requests / 1_000
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found, goal)
    return 1 if found["seconds"] > goal else 0


def show(found: dict[str, Any], goal: float) -> None:
    each = 1e3 * found["seconds"] / found["requests"]
    reached = "reached" if found["seconds"] <= goal else "MISSED"
    print(f"{found['requests']:,} status requests answered in {found['seconds']:.1f} s, {each:.1f} ms each")
    print(f"    target ≤ {goal:g} s: {reached}   load {found['load']}")
    print(f"processor, an answer                   {found['processor_ms']:.1f} ms")
    print(f"    of the service itself              {found['of_the_service']:.1f} ms", end=", ")
    print(f"{found['in_the_system']:.1f} ms of it in the system")
    print(f"waits of its threads, an answer        {found['context_switches']:.0f}")
    print(f"POP3 and SMTP connections, an answer   {found['pop3_connections']:.3f}, {found['smtp_connections']:.3f}")
    for what, count in found["counts"].items():
        print(f"{what + ', an answer':38} {count:.2f}")


if __name__ == "__main__":
    sys.exit(main())

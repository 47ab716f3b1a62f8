"""Measure the gateway, storage included, against other relays: ``python -m bench.gateway [--quick]``.

Ours and Postfix sync each message to the same disk before they accept it; aiosmtpd and email-oauth2-proxy store
nothing. Each figure stands twice: by the time that has passed, and by the processor time of all processes of the relay,
which other programs on the machine change less. Peers that are not installed are left out: ``apt-get install postfix``,
``pip install aiosmtpd emailproxy``.
"""

from __future__ import annotations

import argparse
import os
import poplib
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from bench import relays
from bench.relays import BOX, USER, Relay
from bench.task import message
from bench.upstream import running_upstream

if TYPE_CHECKING:
    from bench.upstream import Upstream

CONNECTIONS = 200
"""Connections within a message at once, ten from an address, for a listener takes twenty from one."""

LARGE = 50_000_000


class Table:
    """What was measured, printed as it comes; and the targets."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] = {}
        self.missed = 0

    def put(self, relay: str, what: str, value: float, shown: str) -> None:
        self.values[relay, what] = value
        print(f"{relay:20} {what:42} {shown}   load {os.getloadavg()[0]:.1f}", flush=True)

    def ratio(self, what: str, peer: str, at_least: float | None, ours: str = "mailslot asyncio") -> None:
        """Print how many times as much ours does as a peer."""
        if (ours, what) not in self.values or (peer, what) not in self.values:
            return
        ratio = self.values[ours, what] / self.values[peer, what]
        self._judge(f"{what}: {ratio:.2f} × {peer}", "≥", at_least, ratio)

    def limit(self, what: str, at_most: float | None = None, *, at_least: float | None = None) -> None:
        """Judge our own figures."""
        for (relay, measured), value in self.values.items():
            if measured == what and relay.startswith("mailslot"):
                sign, bound = ("≤", at_most) if at_most is not None else ("≥", at_least)
                self._judge(f"{relay}, {what}: {value:,.2f}", sign, bound, value)

    def _judge(self, text: str, sign: str, bound: float | None, value: float) -> None:
        reached = bound is None or (value <= bound if sign == "≤" else value >= bound)
        self.missed += not reached
        target = "" if bound is None else f"   (target {sign} {bound:g}: {'reached' if reached else 'MISSED'})"
        print(f"{text}{target}")


def smtp_source(port: int, count: int, size: int, sessions: int, *, keep: bool = True) -> None:
    """Send with Postfix's smtp-source, which waits for each reply."""
    envelope = ("-f", "hall@copiers.example", "-t", "bob@example.org")
    load = ("-s", str(sessions), "-m", str(count), "-l", str(size))
    subprocess.run(["smtp-source", *(("-d",) if keep else ()), *load, *envelope, f"127.0.0.1:{port}"], check=True)


def measure_relaying(
    table: Table, name: str, relay: Relay, upstream: Upstream, count: int, sessions: int, *, relays_on: bool
) -> None:
    """Accept messages of 2 kB, and send them on."""
    taken, used, began = upstream.taken, relay.processor_seconds(), time.monotonic()
    smtp_source(relay.port, count, 2_000, sessions)
    accepted = time.monotonic() - began
    load = f"2 kB, {sessions} connections"
    table.put(name, f"{load}: accepted a second", count / accepted, f"{count / accepted:8,.0f}/s")
    if relays_on:
        upstream.wait_for(taken + count)
        handed_on = time.monotonic() - began
        table.put(name, f"{load}: handed on a second", count / handed_on, f"{count / handed_on:8,.0f}/s")
    cost = (relay.processor_seconds() - used) / count
    table.put(name, f"{load}: a processor second", 1 / cost, f"{1 / cost:8,.0f}    {cost * 1e3:.2f} ms each")


def measure_large(table: Table, name: str, relay: Relay, count: int) -> None:
    """Accept scans of 50 MB, and see that memory does not grow with them."""
    smtp_source(relay.port, 1, 1_000_000, 1)
    before = relay.peak_kib()
    relay.forget_peak()
    used, began = relay.processor_seconds(), time.monotonic()
    smtp_source(relay.port, count, LARGE, 1)
    seconds, used = time.monotonic() - began, relay.processor_seconds() - used
    rate = count * LARGE / seconds / 1e6
    table.put(name, "50 MB: MB a second", rate, f"{rate:8,.0f} MB/s")
    table.put(
        name, "50 MB: MB a processor second", count * LARGE / used / 1e6, f"{count * LARGE / used / 1e6:8,.0f} MB/s"
    )
    grown = (relay.peak_kib() - before) / 1_024
    table.put(name, "50 MB: MiB more than for 1 MB", grown, f"{grown:8.1f} MiB")


def measure_connections(table: Table, name: str, relay: Relay) -> None:
    """Measure the memory of connections in the middle of a message, of which a megabyte has come."""
    piece, clients = (b"x" * 70 + b"\r\n") * 800, list[socket.socket]()
    before = 0
    # The first few fill the relay's own pools.
    for count in (10, CONNECTIONS):
        before = relay.memory_kib()
        clients += [begin_message(relay.port, f"127.0.1.{number % 20 + 1}") for number in range(count)]
        for _ in range(18):
            for client in clients[-count:]:
                client.sendall(piece)
        time.sleep(1)
    used = (relay.memory_kib() - before) / CONNECTIONS
    for client in clients:
        client.close()
    table.put(name, "KiB a connection within a message", used, f"{used:8.1f} KiB")


def begin_message(port: int, source: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    lines = (b"EHLO x\r\n", b"MAIL FROM:<hall@copiers.example>\r\n", b"RCPT TO:<bob@example.org>\r\n", b"DATA\r\n")
    for line in (b"", *lines):
        client.sendall(line)
        reply = client.recv(1_000)
        assert reply[:1] in b"23", reply
    return client


def measure_sessions(table: Table, name: str, relay: Relay, upstream: Upstream, count: int) -> None:
    """Send messages from end to end, each in a session of its own that signs in."""

    def send(number: int) -> None:
        # The same message again would not be sent again.
        content = b"X-Number: %d\r\n" % number + message(2_000)
        with smtplib.SMTP("127.0.0.1", relay.signed_in, local_hostname="copier") as client:
            client.login(USER, relay.passwords.get(USER, "secret"))
            client.sendmail(USER, ["bob@example.org"], content)

    taken = upstream.taken
    send(0)
    upstream.wait_for(taken + 1)
    used, began = relay.processor_seconds(), time.monotonic()
    for number in range(1, count + 1):
        send(number)
    upstream.wait_for(taken + count + 1)
    seconds, used = time.monotonic() - began, relay.processor_seconds() - used
    table.put(name, "a session a message: a second", count / seconds, f"{count / seconds:8,.1f}/s")
    table.put(name, "a session a message: a processor second", count / used, f"{count / used:8,.1f}")


def measure_fetching(table: Table, name: str, relay: Relay, count: int) -> None:
    """Fetch all mails, 4 kB each, in one session that is not the first, for which relays load something."""

    def sign_in() -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", relay.pop3)
        client.user(BOX)
        client.pass_(relay.passwords.get(BOX, "secret"))
        return client

    sign_in().quit()
    used, began = relay.processor_seconds(), time.monotonic()
    client = sign_in()
    for number in range(1, count + 1):
        client.retr(number)
    client.quit()
    seconds, used = time.monotonic() - began, relay.processor_seconds() - used
    table.put(name, "POP3, 4 kB: a second", count / seconds, f"{count / seconds:8,.1f}/s")
    table.put(name, "POP3, 4 kB: a processor second", count / used, f"{count / used:8,.1f}")


def measure_idle(table: Table, folder: Path, upstream: Upstream, backend: str) -> None:
    """Measure what four listeners cost that nobody uses."""
    sizes = []
    for listeners in (0, 4):
        place = folder / f"idle-{backend}-{listeners}"
        place.mkdir()
        with relays.mailslot(place, upstream, backend=backend, listeners=listeners) as relay:
            time.sleep(8)
            sizes.append(relay.memory_kib() / 1_024)
    used = sizes[1] - sizes[0]
    table.put(f"mailslot {backend}", "MiB of four idle listeners", used, f"{used:8.1f} MiB of {sizes[1]:.1f}")


def main() -> int:
    """Measure; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    parser.add_argument("--folder", type=Path, help="where the spools are; its disk is measured, too")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    scale = 10 if arguments.quick else 1
    if shutil.which("smtp-source") is None:
        sys.exit("Postfix's smtp-source is needed: apt-get install postfix")
    missing = relays.missing_peers()
    for name, how in missing.items():
        print(f"{name} is left out: {how}")
    table = Table()
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder, ignore_cleanup_errors=True))
        )
        folder.chmod(0o711)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        upstream = stack.enter_context(running_upstream(folder / "server.pem"))
        mails = 2_000 // scale
        upstream.mails = [message(4_000)] * mails
        run(table, folder, upstream, scale, missing.keys(), mails)
    print()
    judge(table)
    return 1 if table.missed else 0


def run(table: Table, folder: Path, upstream: Upstream, scale: int, missing: object, mails: int) -> None:
    """Measure each relay in turn."""
    ours = {
        f"mailslot {backend}": partial(relays.mailslot, backend=backend, mails=mails) for backend in ("asyncio", "trio")
    }
    peers = {"Postfix": relays.postfix_relay, "aiosmtpd": relays.aiosmtpd}
    for name, start in {**ours, **peers}.items():
        if name in missing:
            continue
        place = folder / name.replace(" ", "-")
        place.mkdir(mode=0o711)
        with start(place, upstream) as relay:
            relays.wait_until_greeted(relay.port)
            for sessions in (1, 10, 20):
                measure_relaying(
                    table, name, relay, upstream, (3_000 if sessions > 1 else 500) // scale, sessions,
                    relays_on=name != "aiosmtpd",
                )  # fmt: skip
            measure_large(table, name, relay, max(1, 10 // scale))
            if name in ours:
                measure_connections(table, name, relay)
                measure_sessions(table, name, relay, upstream, 500 // scale)
                measure_fetching(table, name, relay, mails)
    for backend in ("asyncio", "trio"):
        measure_idle(table, folder, upstream, backend)
    name = "email-oauth2-proxy"
    if name not in missing:
        place = folder / name
        place.mkdir()
        with relays.email_oauth2_proxy(place, upstream, folder / "ca.pem") as relay:
            measure_sessions(table, name, relay, upstream, max(5, 20 // scale))
            measure_fetching(table, name, relay, mails)


def judge(table: Table) -> None:
    """Print the ratios, and which targets are reached."""
    for sessions in (1, 10, 20):
        load = f"2 kB, {sessions} connections"
        least = 0.5 if sessions > 1 else None
        table.ratio(f"{load}: accepted a second", "Postfix", least)
        table.ratio(f"{load}: handed on a second", "Postfix", None)
        table.ratio(f"{load}: a processor second", "Postfix", least)
        table.ratio(f"{load}: accepted a second", "aiosmtpd", None)
    for unit in ("second", "processor second"):
        table.ratio(f"a session a message: a {unit}", "email-oauth2-proxy", 20.0)
        table.ratio(f"POP3, 4 kB: a {unit}", "email-oauth2-proxy", 50.0)
    table.limit("KiB a connection within a message", 64.0)
    table.limit("50 MB: MB a second", at_least=150.0)
    table.limit("50 MB: MB a processor second", at_least=150.0)
    table.limit("50 MB: MiB more than for 1 MB", 8.0)
    table.limit("MiB of four idle listeners", 2.0)


if __name__ == "__main__":
    sys.exit(main())

"""Relays that are measured: our gateway, Postfix, aiosmtpd and email-oauth2-proxy, each a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from bench import servers  # noqa: F401 - makes the lab known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.upstream import Upstream

from lab import postfix
from lab.process import free_ports

ROOT = Path(__file__).resolve().parent.parent

USER, BOX = "fax@example.com", "box@example.com"
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Relay:
    """A relay that runs.

    Attributes:
        process: its first process.
        port: where it takes mail of everybody.
        signed_in: where it takes mail of `USER`; `pop3` is where `BOX` fetches.
        passwords: theirs, if they have one.
    """

    process: subprocess.Popen[bytes]
    port: int = 0
    signed_in: int = 0
    pop3: int = 0
    passwords: dict[str, str] = field(default_factory=dict)

    def processes(self) -> list[int]:
        """The process and all that it has started."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
        found = [self.process.pid]
        for process in found:
            found += [child for child, parent in parents.items() if parent == process]
        return found

    def processor_seconds(self) -> float:
        """What these have used, and those that have ended."""
        used = 0
        for process in self.processes():
            try:
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            used += sum(map(int, fields[11:15]))
        return used / TICK

    def memory_kib(self) -> int:
        """The proportional set size of all of them."""
        size = 0
        for process in self.processes():
            with suppress(OSError):  # it has ended
                size += int(Path(f"/proc/{process}/smaps_rollup").read_text().split("\nPss:")[1].split()[0])
        return size

    def peak_kib(self) -> int:
        """The most resident memory of the first process since `forget_peak`."""
        return int(Path(f"/proc/{self.process.pid}/status").read_text().split("VmHWM:")[1].split()[0])

    def forget_peak(self) -> None:
        """Begin the peak anew (proc(5))."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


@contextmanager
def _started(command: list[str | Path], ports: list[int], folder: Path, more: Mapping[str, str]) -> Iterator[Relay]:
    paths = os.pathsep.join(map(str, [ROOT, ROOT / "transport", ROOT / "plugins"]))
    with (folder / "output.log").open("wb") as log:
        environment = {**os.environ, "PYTHONPATH": paths, **more}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            for port in ports:
                wait_for(port, process)
            yield Relay(process, *ports[:3])
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens on a port."""
    while not answers(port):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} has ended")
        time.sleep(0.05)


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port (proc(5)). To connect would load what an idle relay does without."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:] + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    # The second word is the local address, the fourth the state.
    return any(words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port for words in map(str.split, rows))


# Ours.


@contextmanager
def mailslot(
    folder: Path, upstream: Upstream, *, backend: str = "asyncio", mails: int = 0, listeners: int = 3
) -> Iterator[Relay]:
    """Run ``mailslot serve`` as a gateway, to which nobody has connected; `mails` are in its spool, to be fetched."""
    from mailslot.slots.accounts import add_account  # noqa: PLC0415 - only when it is measured
    from mailslot.slots.gateway.entries import add_device, add_listener  # noqa: PLC0415
    from mailslot.slots.records import Records  # noqa: PLC0415
    from mailslot.wire.secret import Secret  # noqa: PLC0415

    records, ports, passwords = Records(folder / "home"), free_ports(4), list[Secret | None]()
    add_account(records, "office", "SMTP")
    settings = {"server": "localhost", "port": upstream.plain, "security": "none", "sender_address": USER}
    records.change("account.office", settings, {})
    add_account(records, "box", "POP")
    # All that it sends is addressed elsewhere.
    sends = {"via": "account.office", "to": ["*"]}
    opened = [("open", "smtp", "none"), ("signed", "smtp", "none"), ("fetch", "pop3", "none"), ("tls", "smtp", "tls")]
    for (name, protocol, security), port in list(zip(opened, ports, strict=True))[:listeners]:
        add_listener(records, name, {"listen": f"127.0.0.1:{port}", "protocol": protocol, "security": security})
    if listeners > 2:
        add_device(records, "copier", {**sends, "address": ["127.0.0.0/8"], "listener": "open"})
        passwords = [add_device(records, "fax", {**sends, "user": USER, "listener": "signed"})]
        fetches = {"via": "account.box", "user": BOX, "listener": "fetch"}
        passwords += [add_device(records, "box", fetches)]
    anyio.run(partial(_put, folder / "home", mails))
    command = [Path(sys.executable).with_name("mailslot"), "--home", folder / "home", "serve", "--backend", backend]
    if listeners > 3:
        # Its certificates are made once, when it starts for the first time.
        with _started(command, ports, folder, {}):
            pass
    with _started(command, ports[:listeners], folder, {}) as relay:
        while "The service is ready" not in (folder / "output.log").read_text():
            time.sleep(0.05)
        relay.passwords = {user: made.reveal() for user, made in zip((USER, BOX), passwords, strict=False) if made}
        yield relay


async def _put(home: Path, mails: int) -> None:
    from bench.task import message  # noqa: PLC0415 - as above
    from mailslot.spool.spool import Spool  # noqa: PLC0415

    async with Spool(home) as spool:
        for number in range(mails):
            mail = b"X-Number: %d\r\n" % number + message(4_000)
            async with spool.ledger.receive("account.box", str(number), len(mail)) as file:
                await file.write(mail)


def wait_until_greeted(port: int) -> None:
    """Wait until a relay serves clients, for the first of which it may have to load something."""
    import smtplib  # noqa: PLC0415 - as above

    while True:
        try:
            smtplib.SMTP("127.0.0.1", port).quit()
        except (smtplib.SMTPException, ConnectionError):
            time.sleep(0.05)
        else:
            return


# The peers.


@contextmanager
def postfix_relay(folder: Path, upstream: Upstream) -> Iterator[Relay]:
    """Run Postfix, which syncs each message before it accepts it, and sends it on."""
    settings, [port] = folder / "etc", free_ports(1)
    settings.mkdir()
    (settings / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {folder}/spool\ndata_directory = {folder}/data\n"
        f"maillog_file = {folder}/postfix.log\nmaillog_file_prefixes = {folder}\ninet_interfaces = loopback-only\n"
        "inet_protocols = ipv4\nmyhostname = mail.test\nmydestination =\nmynetworks = 127.0.0.0/8\nalias_maps =\n"
        f"relayhost = [127.0.0.1]:{upstream.plain}\ndisable_dns_lookups = yes\nmessage_size_limit = 200000000\n"
        "mailbox_size_limit = 0\nsmtpd_peername_lookup = no\nsmtpd_client_connection_count_limit = 0\n"
        # Otherwise it delays clients while mail comes in faster than it goes out.
        "in_flow_delay = 0\n"
    )
    services = (
        f"127.0.0.1:{port} inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n"
        "rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n"
        "trace unix - - n - 0 bounce\nverify unix - - n - 1 verify\nproxymap unix - - n - - proxymap\n"
        "smtp unix - - n - - smtp\nrelay unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n"
        "anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n"
        "tlsmgr unix - - n 1000? 1 tlsmgr\n"
    )
    (settings / "master.cf").write_text(services)
    for file in settings.iterdir():
        os.utime(file, (time.time() - 60,) * 2)
    postfix.make_queues(folder)
    with _started([postfix.BINARY], [port], folder, {"MAIL_CONFIG": str(settings)}) as relay:
        yield relay


@contextmanager
def aiosmtpd(folder: Path, _upstream: Upstream) -> Iterator[Relay]:
    """Run aiosmtpd, which stores nothing and sends nothing on."""
    [port] = free_ports(1)
    with _started([sys.executable, "-m", "bench.receivers", "aiosmtpd", str(port)], [port], folder, {}) as relay:
        yield relay


@contextmanager
def email_oauth2_proxy(folder: Path, upstream: Upstream, authority: Path) -> Iterator[Relay]:
    """Run email-oauth2-proxy, which stores nothing either, and speaks with the server upstream at the same time."""
    port, pop3 = free_ports(2)
    account = (
        f"token_url = http://127.0.0.1:{upstream.tokens}/token\noauth2_scope = mail\noauth2_flow = client_credentials\n"
        "client_id = bench\nclient_secret = bench\nredirect_uri = http://localhost\n"
    )
    (folder / "proxy.config").write_text(
        f"[SMTP-{port}]\nserver_address = localhost\nserver_port = {upstream.smtps}\nlocal_address = 127.0.0.1\n"
        f"[POP-{pop3}]\nserver_address = localhost\nserver_port = {upstream.pop3s}\nlocal_address = 127.0.0.1\n"
        f"[{USER}]\n{account}[{BOX}]\n{account}"
    )
    command = [sys.executable, "-m", "emailproxy", "--no-gui", "--config-file", folder / "proxy.config"]
    with _started(command, [port, pop3], folder, {"SSL_CERT_FILE": str(authority)}) as relay:
        yield Relay(relay.process, port, signed_in=port, pop3=pop3)


def missing_peers() -> dict[str, str]:
    """Return the peers that cannot be measured here, and why."""
    missing = {}
    if not postfix.BINARY.exists() or os.geteuid() != 0:
        missing["Postfix"] = "apt-get install postfix, and root to run it"
    for name, module in (("aiosmtpd", "aiosmtpd"), ("email-oauth2-proxy", "emailproxy")):
        if importlib.util.find_spec(module) is None:
            missing[name] = f"pip install {module}"
    return missing

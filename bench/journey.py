"""Measure the ways that users have, on real servers: ``python -m bench.journey [--quick] [--only TEXT]``.

- From ``mailslot scan``, and from a file in the folder that is watched, to 250 from Postfix.
- From a mail in Dovecot to a document in an IPP printer.
- The memory of the service with 10 to 10,000 jobs in its queue.

`mailslot serve` runs as it does for users, with a spool on a real disk. Servers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from bench.relays import ROOT, Relay
from bench.servers import MAILBOXES, MissingError, Servers
from bench.task import message
from lab import printer
from lab.users import DOMAIN, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = ROOT / "fixtures" / "scan" / "page.pdf"
MAILSLOT = Path(sys.executable).with_name("mailslot")
DEVICE, USER = f"daemon@{DOMAIN}", f"alice@{DOMAIN}"
QUEUES = (10, 100, 1_000, 10_000)
SETTLE = 1
"""Seconds for which a file in the folder must stay unchanged, the least possible; the default is 3."""


class Home:
    """A home folder, and `mailslot serve` on it.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def write(self, settings: str) -> None:
        (self.folder / "mailslot.toml").write_text(settings)

    def run(self, *arguments: str | Path) -> None:
        """Run a command, which must succeed, or leave a job that waits."""
        command = [MAILSLOT, "--home", self.folder, *arguments]
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        assert ended.returncode in (0, 3), ended.stderr

    @contextmanager
    def serving(self) -> Iterator[Relay]:
        command = [MAILSLOT, "--home", self.folder, "serve"]
        with (self.folder.parent / "serve.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                yield Relay(process)
            finally:
                process.terminate()
                process.wait()


def show(what: str, value: str) -> None:
    print(f"{what:58} {value}   load {os.getloadavg()[0]:.1f}", flush=True)


def wait_until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def time_of(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def median_of_three(work: Callable[[], None]) -> float:
    return statistics.median(time_of(work) for _ in range(3))


def mail_settings(servers: Servers, ca: Path) -> str:
    secure = f'security = "tls"\nauthentication = "password"\naccount = "{DEVICE}"\nca_file = "{ca}"\n'
    smtp, pop3 = servers.postfix_server.submissions.port, servers.dovecot_server.pop3s.port
    return (
        f'[records.smtp]\nserver = "localhost"\nport = {smtp}\n{secure}'
        f'[records.print-pop]\nserver = "localhost"\nport = {pop3}\nfirst_poll = "all"\n{secure}'
    )


def measure_scans(folder: Path, servers: Servers, count: int) -> None:
    """Send scans by the command and by the folder."""
    home, share = Home(folder / "scans"), folder / "share"
    share.mkdir()
    scan = f'[scan]\nfolder = "{share}"\nto = ["{USER}"]\nsettle = {SETTLE}\n'
    home.write(mail_settings(servers, servers.ca) + scan)
    set_password(home, "network.smtp")

    def arrived() -> int:
        return sum(1 for _ in servers.dovecot_server.maildir("alice").glob("[nc]*/*"))

    with home.serving() as service:
        command = ("scan", PAGE, "--to", USER, "--wait")
        home.run(*command)
        show("mailslot scan, one, to 250", f"{median_of_three(partial(home.run, *command)):.2f} s")
        queue = ("scan", PAGE, "--to", USER)
        show("mailslot scan, one, until accepted", f"{median_of_three(partial(home.run, *queue)):.2f} s")
        wait_until(lambda: arrived() == 7)

        def drop(number: int) -> None:
            part = share / f"{number}.pdf.part"
            # Each is another document: the same one again would not be.
            part.write_bytes(PAGE.read_bytes() + b"%% %d\n" % number)
            part.rename(share / f"{number}.pdf")

        def scan_one(_number: int) -> None:
            home.run(*queue)

        before = arrived()
        drop(0)
        seconds = time_of(partial(wait_until, lambda: arrived() > before))
        show("a file in the folder, to 250, one", f"{seconds:.2f} s, of which {SETTLE} s to settle")
        for way, put in (("a file in the folder", drop), ("mailslot scan", scan_one)):
            before, used, began = arrived(), service.processor_seconds(), time.monotonic()
            for number in range(1, count + 1):
                put(number)
            wait_until(lambda before=before: arrived() == before + count)
            minute = 60 * count / (time.monotonic() - began)
            used = (service.processor_seconds() - used) / count
            show(f"{way}, {count} in a row", f"{minute:.0f} a minute, {used * 1e3:.0f} ms of the service each")


def set_password(home: Home, slot: str) -> None:
    command = [MAILSLOT, "--home", home.folder, "set", slot, "password=-"]
    subprocess.run(command, check=True, input=PASSWORD, text=True, capture_output=True)


def measure_prints(folder: Path, servers: Servers, count: int) -> None:
    """Print mails that lie in the mailbox."""
    if not printer.present():
        raise MissingError("ippeveprinter, of CUPS,")
    home = Home(folder / "prints")
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as short,
        printer.start_printer(Path(short) / "printer", "-f", "application/pdf", "-c", "/bin/true") as running,
    ):
        print_section = f'[print]\nprinter = "{running.uri}"\nallowed_senders = ["{USER}"]\n'
        home.write(mail_settings(servers, servers.ca) + print_section)
        for slot in ("network.smtp", "print.pop"):
            set_password(home, slot)

        def printed() -> int:
            return sum(1 for path in running.spool.iterdir() if path.suffix == ".pdf")

        def deliver(numbers: range) -> None:
            for number in numbers:
                servers.dovecot_server.deliver("daemon", print_request(number))

        with home.serving() as service:
            wait_until((home.folder / "spool" / "spool.db").exists)
            for what, numbers in (("one", range(1)), (f"{count} at once", range(1, count + 1))):
                before, used = printed(), service.processor_seconds()
                deliver(numbers)
                began = time.monotonic()
                home.run("poll", "print.pop")
                wait_until(lambda before=before, numbers=numbers: printed() == before + len(numbers))
                seconds = time.monotonic() - began
                used = (service.processor_seconds() - used) / len(numbers)
                minute = "" if len(numbers) == 1 else f", {60 * len(numbers) / seconds:.0f} a minute"
                show(f"a mail to the printer, {what}, from the poll", f"{seconds:.2f} s{minute}")


def print_request(number: int) -> bytes:
    request = EmailMessage()
    request["From"], request["To"], request["Subject"] = USER, DEVICE, "Please print"
    request["Message-ID"] = f"<{number}.{time.time_ns()}@{DOMAIN}>"
    request.set_content("As attached.\n")
    document = PAGE.read_bytes() + b"%% %d\n" % number
    request.add_attachment(document, maintype="application", subtype="pdf", filename="page.pdf")
    return request.as_bytes()


def measure_queues(folder: Path, _servers: Servers, scale: int) -> None:
    """Measure the memory of a service whose server is away, by the jobs in its queue."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    for jobs in QUEUES[: 3 if scale > 1 else None]:
        home = Home(folder / f"queue-{jobs}")
        home.write(
            f'[records.smtp]\nserver = "localhost"\nport = {port}\nsecurity = "none"\nsender_address = "{DEVICE}"\n'
        )
        anyio.run(fill, home.folder, jobs)
        with home.serving() as service:
            # Long enough to try, to recover, and to become quiet.
            time.sleep(20)
            used = service.processor_seconds()
            time.sleep(20)
            used = service.processor_seconds() - used
            memory, peak = service.memory_kib() / 1_024, service.peak_kib() / 1_024
        show(
            f"{jobs:,} jobs in the queue",
            f"{memory:.1f} MiB (PSS), {peak:.1f} at the peak (RSS), {used / 20:.1%} of a processor",
        )


async def fill(home: Path, jobs: int) -> None:
    from mailslot.smtp.content import BytesContent  # noqa: PLC0415 - only when it is measured
    from mailslot.spool.job import NewJob  # noqa: PLC0415
    from mailslot.spool.spool import Spool  # noqa: PLC0415

    async def accept(share: range) -> None:
        for _ in share:
            await spool.accept(NewJob("scan", "smtp", DEVICE, [USER]), BytesContent(message(2_000)))

    async with Spool(home) as spool, anyio.create_task_group() as group:
        for start in range(min(jobs, 20)):
            group.start_soon(accept, range(start, jobs, min(jobs, 20)))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.journey", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs")
    parser.add_argument("--only", choices=("scans", "prints", "queues"), help="only one of them")
    parser.add_argument("--folder", type=Path, help="where the spools are; its disk is measured, too")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    scale = 10 if arguments.quick else 1
    parts = {
        "scans": partial(measure_scans, count=100 // scale),
        "prints": partial(measure_prints, count=50 // scale),
        "queues": partial(measure_queues, scale=scale),
    }
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(dir=arguments.folder, ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(made))
        folder.chmod(0o711)
        # The mailboxes are empty.
        MAILBOXES.clear()
        servers = Servers(folder, 0.0, stack)
        for name, measure in parts.items():
            if arguments.only in (None, name):
                try:
                    measure(folder, servers)
                except MissingError as error:
                    print(f"{name}: left out, for {error} is missing")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

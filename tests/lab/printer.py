"""An IPP Everywhere printer: ippeveprinter, of CUPS."""

from __future__ import annotations

import os
import shutil
import socket
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from lab.process import free_ports, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BINARY = "ippeveprinter"
BUS = "dbus-daemon"


@dataclass(frozen=True)
class Printer:
    """A running printer.

    Attributes:
        uri: its address.
        spool: the folder of the documents that it was sent.
        port: where its web pages are.
    """

    uri: str
    spool: Path
    port: int

    def set_levels(self, *, waste: int, black: int) -> None:
        """Set its supplies on its web page, in percent."""
        self._get("supplies", {"supply0": waste, "supply1": black})

    def _get(self, page: str, values: dict[str, int]) -> None:
        with urllib.request.urlopen(f"http://localhost:{self.port}/{page}?{urlencode(values)}", timeout=120) as answer:
            answer.read()


def answers(path: Path) -> bool:
    """Whether somebody listens at a socket; its file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def present() -> bool:
    """Whether it is installed."""
    return all(shutil.which(program) for program in (BINARY, BUS))


@contextmanager
def start_printer(folder: Path, *arguments: str, port: int | None = None) -> Iterator[Printer]:
    """Run a printer.

    Args:
        folder: an empty folder of its own, with a short path.
        arguments: further ones, such as ``-c COMMAND`` for what is done with a document.
        port: where; None for a free one.
    """
    (folder / "spool").mkdir(parents=True)
    bus = folder / "bus"
    port = port or free_ports(1)[0]
    # It asks a system bus for Avahi, whatever -r says: one of its own, where nobody is, will do.
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    command = [BUS, "--session", "--nofork", "--nopidfile", f"--address=unix:path={bus}"]
    printer = [BINARY, "-r", "off", "-n", "localhost", "-p", str(port), "-k", "-d", str(folder / "spool")]
    with running(command, ports=[], log=folder / "bus.log"):
        wait_until(lambda: answers(bus))
        with running([*printer, *arguments, "Lab"], ports=[port], log=folder / "log", environment=environment):
            yield Printer(f"ipp://localhost:{port}/ipp/print", folder / "spool", port)

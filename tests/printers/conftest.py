"""Printers of several kinds, and a journal."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest

from lab import printer as printer_
from lab.fixtures import need
from lab.process import free_ports
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from trustme import LeafCert

    from lab.printer import Printer


@pytest.fixture
def start(server_folder: Path) -> Iterator[Callable[..., Printer]]:
    """Start a printer with given arguments; it stops at the end of the test."""
    need("ippeveprinter", printer_.present(), "comes with script/setup on Debian")
    numbers = count()
    with ExitStack() as stack:

        def start_(*arguments: str) -> Printer:
            return stack.enter_context(printer_.start_printer(server_folder / str(next(numbers)), *arguments))

        yield start_


@pytest.fixture(scope="module")
def printer(lab_folder: Path, request: pytest.FixtureRequest) -> Iterator[Printer]:
    """A printer that takes PDF and is done with a document at once."""
    need("ippeveprinter", printer_.present(), "comes with script/setup on Debian")
    folder = lab_folder / f"printer-{request.module.__name__.rpartition('.')[2]}"
    with printer_.start_printer(folder, "-f", "application/pdf,image/pwg-raster,image/jpeg", "-c", "/bin/true") as it:
        yield it


@pytest.fixture
def keys(lab_folder: Path, certificate: LeafCert) -> Path:
    """A folder with a certificate for localhost, as ippeveprinter wants it."""
    folder = lab_folder / "keys"
    folder.mkdir(exist_ok=True)
    certificate.cert_chain_pems[0].write_to_path(str(folder / "localhost.crt"))
    certificate.private_key_pem.write_to_path(str(folder / "localhost.key"))
    return folder


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """A spool, for its stores."""
    async with Spool(tmp_path / "home") as spool:
        yield spool


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    return free_ports(1)[0]

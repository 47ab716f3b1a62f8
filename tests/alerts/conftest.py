"""A printer to watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import printer as printer_
from lab.fixtures import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.printer import Printer


@pytest.fixture(scope="session")
def printer(lab_folder: Path) -> Iterator[Printer]:
    """A printer; script/setup installs cups-ipp-utils and dbus-daemon."""
    need("ippeveprinter", printer_.present(), "comes with script/setup on Debian")
    with printer_.start_printer(lab_folder / "printer") as running:
        yield running

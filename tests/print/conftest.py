"""A printer for the end-to-end test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import printer as printer_
from lab.fixtures import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.printer import Printer


@pytest.fixture(scope="module")
def printer(lab_folder: Path, request: pytest.FixtureRequest) -> Iterator[Printer]:
    """A printer that takes PDF and JPEG, and is done with a document at once."""
    need("ippeveprinter", printer_.present(), "comes with script/setup on Debian")
    folder = lab_folder / f"printer-{request.module.__name__.rpartition('.')[2]}"
    with printer_.start_printer(folder, "-f", "application/pdf,image/jpeg", "-c", "/bin/true") as running:
        yield running

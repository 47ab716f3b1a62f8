"""A replaced printer: nothing is printed until the old certificate is deleted."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trustme
from anyio.to_thread import run_sync

from command_line import mailslot
from lab import printer as printer_
from lab.fixtures import need
from lab.process import free_ports
from mailslot_plugins.printers.pins import StoredPins, fingerprint, pins_of
from panel.browser_client import BrowserClient, words
from panel.running_panel import run_panel
from print.sample_mails import handle_due, make_mail, run_device, scan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.printer import Printer

SAID = (
    "The printer's certificate has changed. If the printer was replaced or reset, forget the old certificate with "
    "mailslot printer forget, or on the page Device of the panel."
)


@pytest.fixture
def port() -> int:
    need("ippeveprinter", printer_.present(), "comes with script/setup on Debian")
    return free_ports(1)[0]


@contextmanager
def printer_with_a_new_certificate(folder: Path, port: int) -> Iterator[tuple[Printer, str]]:
    """Run a printer with a self-signed certificate, and return it with the fingerprint."""
    keys = folder / "keys"
    keys.mkdir(parents=True)
    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(keys / "localhost.crt"))
    certificate.private_key_pem.write_to_path(str(keys / "localhost.key"))
    arguments = ("-f", "application/pdf", "-c", "/bin/true", "-K", str(keys))
    with printer_.start_printer(folder / "printer", *arguments, port=port) as printer:
        yield printer, fingerprint(certificate.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("way", ["command", "panel"])
async def test_a_printer_is_replaced(tmp_path: Path, server_folder: Path, port: int, way: str) -> None:
    home, place = tmp_path / "home", f"localhost:{port}"
    address = f"ipps://{place}/ipp/print"
    moment = [1_800_000_000.0]
    async with run_device(home, address, now=lambda: moment[0]) as device:
        with printer_with_a_new_certificate(server_folder / "one", port) as (_, first):
            [found] = await handle_due(device, make_mail(scan()))
            assert found.note == "1 document was printed."
        with printer_with_a_new_certificate(server_folder / "two", port) as (printer, second):
            [found] = await handle_due(device, make_mail(scan(), number=2))
            assert (found.outcome, found.note) == ("later", SAID)
            assert await pins_of(device).all() != []
            assert first != second
            if way == "command":
                await run_sync(by_command, home, place, first)
            else:
                await by_panel(home, place, first)
            moment[0] += 3600
            [found] = await handle_due(device)
            assert found.note == "1 document was printed."
            assert len([path for path in printer.spool.iterdir() if path.suffix == ".pdf"]) == 1
            [pin] = await pins_of(device).all()
            assert (pin.printer, pin.fingerprint) == (place, second)


def by_command(home: Path, place: str, first: str) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        ran = mailslot("printer", *arguments, MAILSLOT_HOME=str(home), COLUMNS="200")
        assert ran.returncode == code, ran.stderr
        return ran.stderr if code else ran.stdout

    assert json.loads(run("certificates", "--json")) == [{"printer": place, "fingerprint": first}]
    assert first in run("certificates")
    assert "--yes" in run("forget", code=2)
    assert "No certificate is stored" in run("forget", "printer.example:631", "--yes", code=2)
    assert "begin with ipps" in run("forget", f"ipp://{place}/ipp/print", "--yes", code=2)
    assert place in run("forget", f"ipps://{place}/ipp/print", "--yes")
    assert "No printer's certificate is stored." in run("certificates")
    assert "No printer's certificate is stored." in run("forget", "--yes", code=2)


async def by_panel(home: Path, place: str, first: str) -> None:
    async with run_panel(home) as panel, BrowserClient(panel.address) as admin:
        await admin.sign_in()
        page = await admin.get("/administration")
        assert first in page.text
        assert place in words(page)
        # Without the token of the form, nothing happens.
        assert (await admin.post("/administration/printers/forget", data={"printer": place})).status_code == 403
        done = await admin.submit("/administration/printers/forget", "/administration", printer=place)
        assert done.headers["location"].endswith("#printers")
        page = await admin.get("/administration")
        assert first not in page.text
        assert "certificate has been deleted" in words(page)
        again = await admin.submit("/administration/printers/forget", "/administration", printer=place)
        assert again.status_code == 303


async def test_the_only_certificate_needs_no_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    pem = trustme.CA().cert_pem.bytes().decode()
    async with run_device(home, "folder x") as device:
        pins: StoredPins = pins_of(device)
        await pins.put("a.example:631", pem)
        await pins.put("b.example:631", pem)
    two = mailslot("printer", "forget", "--yes", MAILSLOT_HOME=str(home))
    assert (two.returncode, "a.example:631, b.example:631" in two.stderr) == (2, True)
    for arguments in (("A.example:631",), ()):
        assert mailslot("printer", "forget", *arguments, "--yes", MAILSLOT_HOME=str(home)).returncode == 0

"""Documents on a real IPP printer: unchanged or converted, printed once, and errors."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from PIL import Image

from mailslot_plugins.intake.process import IntakeError
from mailslot_plugins.printers.ipp.codec import Attribute, Tag
from mailslot_plugins.printers.ipp.operations import CREATE_JOB, PRINT_JOB, requesting_user
from mailslot_plugins.printers.ipp.printer import IppPrinter
from mailslot_plugins.printers.journal import Journal
from mailslot_plugins.printers.pins import StoredPins
from mailslot_plugins.printers.printer import Document, PrinterError, PrinterOptions, find_printer
from mailslot_plugins.printers.printing import abandon_documents, print_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.printer import Printer
    from mailslot.spool.spool import Spool

SCAN = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"
QUICK = PrinterOptions(job_timeout=300, timeout=120)


def scan(**values: object) -> Document:
    return replace(Document(SCAN, "pdf", "Scan of today.pdf", "alice@example.com"), **values)  # type: ignore[arg-type]


async def journal(spool: Spool, key: str = "mail:1") -> Journal:
    return await Journal.load(spool.store("print"), key)


def files(printer: Printer) -> list[Path]:
    # What the command writes is kept beside the document.
    found = [path for path in printer.spool.iterdir() if path.suffix != ".prn"]
    return sorted(found, key=lambda path: int(path.name.partition("-")[0]))


def slow(folder: Path, gate: Path) -> Path:
    """A command that is done with a document once `gate` is there."""
    script = folder / "slow"
    script.write_text(f"#!/bin/sh\nuntil test -e {gate}; do sleep 0.05; done\n")
    script.chmod(0o755)
    return script


async def test_a_pdf_arrives_as_it_is(printer: Printer, spool: Spool, tmp_path: Path) -> None:
    before = len(files(printer))
    ipp = IppPrinter(printer.uri, QUICK)
    ready = await ipp.check()
    assert ready.ready
    assert "application/pdf" in ready.formats
    book = await journal(spool)
    await print_document(ipp, scan(), tmp_path, book, "0")
    [new] = files(printer)[before:]
    assert new.read_bytes() == SCAN.read_bytes()
    assert book.attempt("0.0").token in new.name
    assert "scan" in new.name
    again = await journal(spool)
    await print_document(ipp, scan(), tmp_path, again, "0")
    assert len(files(printer)) == before + 1


async def test_without_create_job_it_is_print_job(printer: Printer, spool: Spool, tmp_path: Path) -> None:
    before = len(files(printer))
    ipp = IppPrinter(printer.uri, QUICK)
    can = await ipp._capabilities()
    ipp._cached_capabilities = replace(can, supported_operations=can.supported_operations - {CREATE_JOB})
    await print_document(ipp, scan(), tmp_path, await journal(spool), "0")
    [new] = files(printer)[before:]
    assert new.read_bytes() == SCAN.read_bytes()


@pytest.mark.parametrize("kind", ["png", "tiff", "gif", "text"])
async def test_unsupported_formats_are_converted(kind: str, printer: Printer, spool: Spool, tmp_path: Path) -> None:
    before = len(files(printer))
    path = tmp_path / f"document.{kind}"
    if kind == "text":
        path.write_text("Grüße\n" * 100)
    else:
        Image.new("RGB", (300, 200), "red").save(path)
    document = Document(path, kind, "It", "alice@example.com")  # type: ignore[arg-type]
    await print_document(IppPrinter(printer.uri, QUICK), document, tmp_path, await journal(spool), "0")
    [new] = files(printer)[before:]
    assert new.suffix == ".pdf"
    assert new.read_bytes().startswith(b"%PDF-")


async def test_a_jpeg_only_printer_gets_a_job_for_each_page(
    start: Callable[..., Printer], spool: Spool, tmp_path: Path
) -> None:
    printer = start("-f", "image/jpeg", "-c", "/bin/true")
    pages = [Image.new("L", (595, 842), grey) for grey in (0, 100, 200)]
    pages[0].save(tmp_path / "three.pdf", save_all=True, append_images=pages[1:])
    document = scan(path=tmp_path / "three.pdf")
    await print_document(IppPrinter(printer.uri, QUICK), document, tmp_path, await journal(spool), "0")
    greys = []
    for path in files(printer):
        with Image.open(path) as image:
            assert image.format == "JPEG"
            greys.append(image.convert("L").resize((1, 1)).getpixel((0, 0)))
    assert greys == pytest.approx([0, 100, 200], abs=3)


async def test_documents_that_cannot_be_converted(printer: Printer, spool: Spool, tmp_path: Path) -> None:
    path = tmp_path / "x.pcl"
    path.write_bytes(b"\x1bE")
    book = await journal(spool)
    for _ in range(2):
        with pytest.raises(PrinterError, match="does not accept documents of this") as caught:
            await print_document(IppPrinter(printer.uri, QUICK), scan(path=path, kind="pcl"), tmp_path, book, "0")
        assert (caught.value.cause, caught.value.retryable) == ("document_unprintable", False)


async def test_a_broken_pdf_never_reaches_the_printer(printer: Printer, spool: Spool, tmp_path: Path) -> None:
    before = files(printer)
    path = tmp_path / "x.pdf"
    path.write_bytes(b"%PDF-1.7\n" + b"\0" * 1000)
    with pytest.raises(PrinterError, match="damaged"):
        await print_document(IppPrinter(printer.uri, QUICK), scan(path=path), tmp_path, await journal(spool), "0")
    assert files(printer) == before
    with pytest.raises(IntakeError):
        await IppPrinter(printer.uri, QUICK).prepare(scan(path=path), tmp_path)


async def test_an_aborted_job_is_reported(start: Callable[..., Printer], spool: Spool, tmp_path: Path) -> None:
    printer = start("-f", "application/pdf", "-c", "/bin/false")
    with pytest.raises(PrinterError, match="aborted") as caught:
        await print_document(IppPrinter(printer.uri, QUICK), scan(), tmp_path, await journal(spool), "0")
    assert (caught.value.cause, caught.value.retryable) == ("printer_refused", False)
    assert "aborted-by-system" in caught.value.detail


async def test_a_slow_job_is_resumed_later(start: Callable[..., Printer], spool: Spool, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    printer = start("-f", "application/pdf", "-c", str(slow(tmp_path, gate)))
    hasty = IppPrinter(printer.uri, PrinterOptions(job_timeout=0.5))
    for _ in range(2):
        with pytest.raises(PrinterError, match="still printing") as caught:
            await print_document(hasty, scan(), tmp_path, await journal(spool), "0")
        assert caught.value.retryable
    # It takes one job at a time, so that another one's is to come later.
    with pytest.raises(PrinterError, match="busy") as caught:
        await print_document(hasty, scan(), tmp_path, await journal(spool, "mail:2"), "0")
    assert (caught.value.cause, caught.value.retryable) == ("printer_stopped", True)
    gate.touch()
    await print_document(IppPrinter(printer.uri, QUICK), scan(), tmp_path, await journal(spool), "0")
    assert len(files(printer)) == 1


async def test_an_unreachable_printer(spool: Spool, tmp_path: Path, free_port: int) -> None:
    ipp = IppPrinter(f"ipp://localhost:{free_port}/ipp/print", QUICK)
    book = await journal(spool)
    with pytest.raises(PrinterError, match="cannot be reached") as caught:
        await print_document(ipp, scan(), tmp_path, book, "0")
    assert (caught.value.cause, caught.value.retryable) == ("printer_unreachable", True)
    assert book.attempt("0").step == "new"


async def test_tls_with_a_pinned_certificate(
    start: Callable[..., Printer], keys: Path, spool: Spool, tmp_path: Path
) -> None:
    printer = start("-f", "application/pdf", "-c", "/bin/true", "-K", str(keys))
    uri = printer.uri.replace("ipp:", "ipps:")
    pins = StoredPins(spool.store("printers"))
    options = replace(QUICK, pins=pins)
    await print_document(IppPrinter(uri, options), scan(), tmp_path, await journal(spool), "0")
    assert files(printer)[0].read_bytes() == SCAN.read_bytes()
    place = uri.removeprefix("ipps://").partition("/")[0]
    kept = await pins.get(place)
    assert kept is not None
    assert ssl.PEM_cert_to_DER_cert(kept) == ssl.PEM_cert_to_DER_cert((keys / "localhost.crt").read_text())
    other = trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes().decode()
    await pins.put(place, other)
    with pytest.raises(PrinterError, match="certificate has changed") as caught:
        await print_document(IppPrinter(uri, options), scan(), tmp_path, await journal(spool, "mail:2"), "0")
    assert caught.value.retryable
    assert len(files(printer)) == 1


async def test_tls_with_a_certificate_authority(
    start: Callable[..., Printer], keys: Path, spool: Spool, tmp_path: Path, ca: trustme.CA
) -> None:
    printer = start("-f", "application/pdf", "-c", "/bin/true", "-K", str(keys))
    uri = printer.uri.replace("ipp:", "ipps:")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trusting = IppPrinter(uri, replace(QUICK, ca_file=tmp_path / "ca.pem"))
    await print_document(trusting, scan(), tmp_path, await journal(spool), "0")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    with pytest.raises(PrinterError, match="not issued by an authority in ca_file"):
        await IppPrinter(uri, replace(QUICK, ca_file=tmp_path / "other.pem")).check()


async def test_a_job_whose_response_was_lost_is_found_by_its_token(
    printer: Printer, spool: Spool, tmp_path: Path
) -> None:
    before = len(files(printer))
    ipp = IppPrinter(printer.uri, QUICK)
    book = await journal(spool)
    await book.record("pieces:0", 1)
    attempt = book.attempt("0.0")
    await attempt.reach("begun")
    about = [requesting_user(""), Attribute(Tag.NAME, "job-name", (f"{attempt.token} It",))]
    kind = Attribute(Tag.MIME_TYPE, "document-format", ("application/pdf",))
    await ipp._operations.execute(PRINT_JOB, [*about, kind], document=SCAN)
    await print_document(ipp, scan(), tmp_path, await journal(spool), "0")
    assert len(files(printer)) == before + 1


async def create_without_document(ipp: IppPrinter, token: str) -> None:
    """Create a job whose document never comes: the printer takes no other until it is cancelled."""
    name = Attribute(Tag.NAME, "job-name", (f"{token} It",))
    await ipp._operations.execute(CREATE_JOB, [requesting_user(""), name])


async def test_a_job_without_document_is_cancelled_and_printed_again(
    printer: Printer, spool: Spool, tmp_path: Path
) -> None:
    before = len(files(printer))
    ipp = IppPrinter(printer.uri, QUICK)
    book = await journal(spool)
    attempt = book.attempt("0.0")
    await attempt.reach("begun")
    await create_without_document(ipp, attempt.token)
    again = await journal(spool)
    await print_document(ipp, scan(), tmp_path, again, "0")
    [new] = files(printer)[before:]
    assert again.attempt("0.0").token in new.name
    assert attempt.token not in new.name


async def test_a_job_that_the_printer_does_not_know_is_printed_again(
    printer: Printer, spool: Spool, tmp_path: Path
) -> None:
    before = len(files(printer))
    book = await journal(spool)
    await book.attempt("0.0").reach("begun")
    await print_document(IppPrinter(printer.uri, QUICK), scan(), tmp_path, book, "0")
    assert len(files(printer)) == before + 1


async def test_a_job_that_the_printer_creates_late_is_cancelled(
    printer: Printer, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device was killed, and has looked for the job before the printer had read the request."""
    before = len(files(printer))
    ipp = IppPrinter(printer.uri, QUICK)
    attempt = (await journal(spool)).attempt("0.0")
    await attempt.reach("begun")
    await create_without_document(ipp, attempt.token)

    async def find_nothing(*_: object) -> None:
        return

    monkeypatch.setattr(ipp._operations, "find_job", find_nothing)
    with pytest.raises(PrinterError, match="busy") as caught:
        await print_document(ipp, scan(), tmp_path, await journal(spool), "0")
    assert caught.value.retryable
    monkeypatch.undo()
    await print_document(ipp, scan(), tmp_path, await journal(spool), "0")
    assert len(files(printer)) == before + 1


async def test_a_job_that_the_printer_creates_while_it_is_looked_for_is_cancelled(
    printer: Printer, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipp = IppPrinter(printer.uri, QUICK)
    attempt = (await journal(spool)).attempt("0.0")
    await attempt.reach("begun")
    find, token = ipp._operations.find_job, attempt.token

    async def find_and_create(token: str, owner: str) -> int | None:
        found = await find(token, owner)
        monkeypatch.undo()
        await create_without_document(ipp, token)
        return found

    monkeypatch.setattr(ipp._operations, "find_job", find_and_create)
    assert await ipp.resume(attempt) is None
    assert attempt.token != token
    assert await find(token, "") is not None


async def test_a_job_that_the_printer_creates_late_is_cancelled_with_its_mail(
    printer: Printer, spool: Spool, tmp_path: Path
) -> None:
    before = len(files(printer))
    ipp = IppPrinter(printer.uri, QUICK)
    attempt = (await journal(spool)).attempt("0.0")
    await attempt.reach("begun")
    assert await ipp.resume(attempt) is None
    await create_without_document(ipp, attempt.token)
    await abandon_documents(ipp, await journal(spool))
    await print_document(ipp, scan(), tmp_path, await journal(spool, "mail:2"), "0")
    assert len(files(printer)) == before + 1


async def test_a_confirmed_job_that_the_printer_forgot_counts_as_printed(
    printer: Printer, spool: Spool, tmp_path: Path
) -> None:
    before = len(files(printer))
    book = await journal(spool)
    await book.record("pieces:0", 1)
    await book.attempt("0.0").reach("sent", job=987654)
    printed = await print_document(IppPrinter(printer.uri, QUICK), scan(), tmp_path, book, "0")
    assert "forgotten" in printed.note
    assert len(files(printer)) == before


async def test_cancelled_at_the_printer_while_it_prints(
    start: Callable[..., Printer], spool: Spool, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    printer = start("-f", "application/pdf", "-c", str(slow(tmp_path, gate)))
    book = await journal(spool)
    with pytest.raises(PrinterError, match="still printing"):
        await print_document(IppPrinter(printer.uri, PrinterOptions(job_timeout=0.3)), scan(), tmp_path, book, "0")
    ipp = IppPrinter(printer.uri, QUICK)
    await ipp._cancel(book.attempt("0.0").job or 0, "alice@example.com")
    gate.touch()
    with pytest.raises(PrinterError, match="cancelled at the printer") as caught:
        await print_document(ipp, scan(), tmp_path, await journal(spool), "0")
    assert not caught.value.retryable


def test_addresses_lead_to_printers() -> None:
    assert isinstance(find_printer("ipps://printer.example/ipp", QUICK), IppPrinter)
    for wrong in ("", "ipp:", "teapot://x/", "folder", "ipp://"):
        with pytest.raises(ValueError, match="printer"):
            find_printer(wrong, QUICK)

"""Printers that are busy, stopped or old, or whose responses are lost."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailslot_plugins.printers.folder import FolderPrinter
from mailslot_plugins.printers.ipp.operations import (
    CREATE_JOB,
    GET_JOB_ATTRIBUTES,
    GET_PRINTER_ATTRIBUTES,
    PRINT_JOB,
    SEND_DOCUMENT,
    VALIDATE_JOB,
    status_error,
)
from mailslot_plugins.printers.ipp.printer import IppPrinter
from mailslot_plugins.printers.ipp.reasons import printer_sentences
from mailslot_plugins.printers.journal import Journal
from mailslot_plugins.printers.printer import Document, PrinterError, PrinterOptions, is_printer_address
from mailslot_plugins.printers.printing import print_document
from printers.simulated import ABLE, SimulatedPrinter, run_simulated_printer

if TYPE_CHECKING:
    from mailslot.spool.spool import Spool
    from mailslot_plugins.printers.printer import PrintResult

SCAN = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"
IT = Document(SCAN, "pdf", "It", "alice@example.com", copies=2)


async def print_on(simulated: SimulatedPrinter, spool: Spool, folder: Path) -> PrintResult:
    """Print as the pipeline does, with a journal."""
    journal = await Journal.load(spool.store("print"), "mail:1")
    printer = IppPrinter(simulated.uri, PrinterOptions(job_timeout=120, timeout=120))
    return await print_document(printer, IT, folder, journal, "0")


async def fails(simulated: SimulatedPrinter, spool: Spool, folder: Path) -> PrinterError:
    with pytest.raises(PrinterError) as caught:
        await print_on(simulated, spool, folder)
    return caught.value


async def test_busy_three_times(spool: Spool, tmp_path: Path) -> None:
    async with run_simulated_printer(
        SimulatedPrinter(refusals={CREATE_JOB: [0x0507, 0x0507], SEND_DOCUMENT: [0x0507]})
    ) as simulated:
        for _ in range(3):
            error = await fails(simulated, spool, tmp_path)
            assert (str(error), error.retryable) == ("The printer is busy.", True)
        await print_on(simulated, spool, tmp_path)
        assert simulated.documents == [SCAN.read_bytes()]
        assert len({name.split()[0] for name in simulated.names}) == 2


@pytest.mark.parametrize("operation", [CREATE_JOB, SEND_DOCUMENT, PRINT_JOB, GET_JOB_ATTRIBUTES])
async def test_a_lost_response(operation: int, spool: Spool, tmp_path: Path) -> None:
    able = tuple(each for each in ABLE if each != CREATE_JOB) if operation == PRINT_JOB else ABLE
    async with run_simulated_printer(
        SimulatedPrinter(lost={operation}, able=able, job_states=[5, 5, 5, 9])
    ) as simulated:
        error = await fails(simulated, spool, tmp_path)
        assert (error.cause, error.retryable) == ("printer_unreachable", True)
        if operation == CREATE_JOB:
            simulated.job_states, simulated.job_reasons = [4, 7], ["job-incoming"]
            with pytest.raises(PrinterError):
                # The job without its document is cancelled; what is printed anew fails in this play.
                await print_on(simulated, spool, tmp_path)
            assert len(simulated.documents) == 1
            return
        await print_on(simulated, spool, tmp_path)
        assert simulated.documents == [SCAN.read_bytes()]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"accepting": False}, "The printer does not accept documents at the moment."),
        ({"accepting": False, "reasons": ["media-empty-error"]}, "The printer is out of paper."),
        ({"job_states": [6], "reasons": ["media-jam", "cover-open"]}, "Paper is jammed in the printer. A cover of"),
        ({"job_states": [3], "printer_state": 5, "reasons": ["paused"]}, "The printer is paused."),
        ({"http": {VALIDATE_JOB: [503]}}, "The printer is busy."),
        ({"http": {GET_PRINTER_ATTRIBUTES: [426]}}, "The printer requires an encrypted connection"),
        ({"http": {GET_PRINTER_ATTRIBUTES: [404]}}, "The server at the printer's address is not an IPP printer."),
    ],
)
async def test_a_waiting_job_says_why(values: dict[str, Any], sentence: str, spool: Spool, tmp_path: Path) -> None:
    async with run_simulated_printer(SimulatedPrinter(**deepcopy(values))) as simulated:
        error = await fails(simulated, spool, tmp_path)
        assert str(error).startswith(sentence)
        assert error.retryable


async def test_an_old_printer_gets_its_version_of_ipp(spool: Spool, tmp_path: Path) -> None:
    async with run_simulated_printer(SimulatedPrinter(version=1)) as simulated:
        await print_on(simulated, spool, tmp_path)
        assert simulated.versions[:2] == [2, 1]
        assert set(simulated.versions[1:]) == {1}
        assert len(simulated.documents) == 1


async def test_a_printer_that_wrongly_claims_create_job(spool: Spool, tmp_path: Path) -> None:
    async with run_simulated_printer(SimulatedPrinter(refusals={CREATE_JOB: [0x0501]})) as simulated:
        await print_on(simulated, spool, tmp_path)
        assert PRINT_JOB in simulated.asked
        assert len(simulated.documents) == 1


async def test_a_held_job_counts_as_printed(spool: Spool, tmp_path: Path) -> None:
    async with run_simulated_printer(
        SimulatedPrinter(job_states=[4], job_reasons=["job-hold-until-specified"])
    ) as simulated:
        assert "until somebody releases it" in (await print_on(simulated, spool, tmp_path)).note


@pytest.mark.parametrize(
    ("state", "reason", "cause"),
    [
        (8, "document-format-error", "document_unprintable"),
        (8, "aborted-by-system", "printer_refused"),
        (7, "job-canceled-by-user", "printer_refused"),
    ],
)
async def test_failed_jobs_are_final(state: int, reason: str, cause: str, spool: Spool, tmp_path: Path) -> None:
    async with run_simulated_printer(SimulatedPrinter(job_states=[5, state], job_reasons=[reason])) as simulated:
        error = await fails(simulated, spool, tmp_path)
        assert (error.cause, error.retryable, error.detail) == (cause, False, reason)
        before = list(simulated.asked)
        await fails(simulated, spool, tmp_path)
        assert simulated.asked == before


@pytest.mark.parametrize("status", range(0x0400, 0x0510))
def test_each_refusal_has_its_sentence(status: int) -> None:
    error = status_error(status)
    assert error.retryable == (status in {0x0405, 0x0500, 0x0502, 0x0504, 0x0505, 0x0506, 0x0507, 0x050A})
    assert error.cause in {"printer_stopped", "printer_refused", "document_unprintable"}
    assert (error.cause == "printer_stopped") == error.retryable


def test_harmless_reasons_are_not_reported() -> None:
    assert printer_sentences(["media-empty-report", "toner-low", "none", "media-empty-error", "media-needed"]) == (
        "The printer is out of paper.",
    )


async def test_a_folder_gets_a_document_once(spool: Spool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    printer = FolderPrinter(out, PrinterOptions())
    journal = await Journal.load(spool.store("print"), "mail:1")
    attempt = journal.attempt("0.0")
    [document] = await printer.prepare(Document(SCAN, "pdf", "../../a\u202e/b.pdf", "x"), tmp_path)
    await printer.print(document, attempt)
    assert [path.name for path in out.iterdir()] == [f"{attempt.token} _.._a_b.pdf"]
    assert await printer.resume(attempt) is not None
    again = journal.attempt("1.0")
    assert await printer.resume(again) is None


@pytest.mark.parametrize(
    ("title", "media_type", "named"),
    [
        ("Facture d'e\u0301lectricite\u0301", "application/pdf", "Facture d_électricité.pdf"),
        ("ใบแจ้งหนี้ हिन्दी", "application/pdf", "ใบแจ้งหนี้ हिन्दी.pdf"),
        ("IMG_0001.jpeg", "image/jpeg", "IMG_0001.jpg"),
        ("IMG_0001.JPG", "image/jpeg", "IMG_0001.jpg"),
        ("IMG_0001.jpeg", "application/pdf", "IMG_0001.jpeg.pdf"),
    ],
)
async def test_a_file_is_named_after_its_document(
    spool: Spool, tmp_path: Path, title: str, media_type: str, named: str
) -> None:
    attempt = (await Journal.load(spool.store("print"), "mail:1")).attempt("0.0")
    out = tmp_path / "out"
    out.mkdir()
    await FolderPrinter(out, PrinterOptions()).print(Document(SCAN, "pdf", title, "x", media_type=media_type), attempt)
    assert [path.name for path in out.iterdir()] == [f"{attempt.token} {named}"]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("ipp://x/", True),
        ("folder /a b", True),
        ("command lp -d 'x y'", True),
        ("ipp", False),
        ("", False),
        ("A b", False),
    ],
)
def test_address_schemes(text: str, good: bool) -> None:
    assert is_printer_address(text) is good

"""Printers that are busy, stopped, old, or whose answers are lost."""

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
    refusal,
)
from mailslot_plugins.printers.ipp.printer import IppPrinter
from mailslot_plugins.printers.ipp.reasons import printer_sentences
from mailslot_plugins.printers.journal import Journal
from mailslot_plugins.printers.printer import Document, Options, PrinterError, is_address
from mailslot_plugins.printers.printing import print_document
from printers.played import ABLE, Played, playing

if TYPE_CHECKING:
    from mailslot.spool.spool import Spool
    from mailslot_plugins.printers.printer import Printed

SCAN = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"
IT = Document(SCAN, "pdf", "It", "alice@example.com", copies=2)


async def print_on(played: Played, spool: Spool, folder: Path) -> Printed:
    """As the pipeline does: with all that is remembered."""
    journal = await Journal.load(spool.store("print"), "mail:1")
    printer = IppPrinter(played.uri, Options(patience=120, timeout=120))
    return await print_document(printer, IT, folder, journal, "0")


async def fails(played: Played, spool: Spool, folder: Path) -> PrinterError:
    with pytest.raises(PrinterError) as caught:
        await print_on(played, spool, folder)
    return caught.value


async def test_busy_three_times(spool: Spool, tmp_path: Path) -> None:
    async with playing(Played(refusals={CREATE_JOB: [0x0507, 0x0507], SEND_DOCUMENT: [0x0507]})) as played:
        for _ in range(3):
            error = await fails(played, spool, tmp_path)
            assert (str(error), error.retryable) == ("The printer is busy.", True)
        await print_on(played, spool, tmp_path)
        assert played.documents == [SCAN.read_bytes()]
        assert len({name.split()[0] for name in played.names}) == 2


@pytest.mark.parametrize("operation", [CREATE_JOB, SEND_DOCUMENT, PRINT_JOB, GET_JOB_ATTRIBUTES])
async def test_an_answer_that_was_lost(operation: int, spool: Spool, tmp_path: Path) -> None:
    able = tuple(each for each in ABLE if each != CREATE_JOB) if operation == PRINT_JOB else ABLE
    async with playing(Played(lost={operation}, able=able, job_states=[5, 5, 5, 9])) as played:
        error = await fails(played, spool, tmp_path)
        assert (error.cause, error.retryable) == ("printer_unreachable", True)
        if operation == CREATE_JOB:
            played.job_states, played.job_reasons = [4, 7], ["job-incoming"]
            with pytest.raises(PrinterError):
                # The job without its document is cancelled; what is printed anew fails in this play.
                await print_on(played, spool, tmp_path)
            assert len(played.documents) == 1
            return
        await print_on(played, spool, tmp_path)
        assert played.documents == [SCAN.read_bytes()]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"accepting": False}, "The printer does not accept documents at the moment."),
        ({"accepting": False, "reasons": ["media-empty-error"]}, "The printer is out of paper."),
        ({"job_states": [6], "reasons": ["media-jam", "cover-open"]}, "Paper is jammed in the printer. A cover of"),
        ({"job_states": [3], "printer_state": 5, "reasons": ["paused"]}, "The printer is paused."),
        ({"http": {VALIDATE_JOB: [503]}}, "The printer is busy."),
        ({"http": {GET_PRINTER_ATTRIBUTES: [426]}}, "The printer wants an encrypted connection"),
        ({"http": {GET_PRINTER_ATTRIBUTES: [404]}}, "What answers at the printer's address is no IPP printer."),
    ],
)
async def test_what_waits_says_why(values: dict[str, Any], sentence: str, spool: Spool, tmp_path: Path) -> None:
    async with playing(Played(**deepcopy(values))) as played:
        error = await fails(played, spool, tmp_path)
        assert str(error).startswith(sentence)
        assert error.retryable


async def test_an_old_printer_is_spoken_to_in_its_version(spool: Spool, tmp_path: Path) -> None:
    async with playing(Played(version=1)) as played:
        await print_on(played, spool, tmp_path)
        assert played.versions[:2] == [2, 1]
        assert set(played.versions[1:]) == {1}
        assert len(played.documents) == 1


async def test_one_that_says_it_can_create_jobs_and_cannot(spool: Spool, tmp_path: Path) -> None:
    async with playing(Played(refusals={CREATE_JOB: [0x0501]})) as played:
        await print_on(played, spool, tmp_path)
        assert PRINT_JOB in played.asked
        assert len(played.documents) == 1


async def test_held_for_somebody_to_release_is_printed(spool: Spool, tmp_path: Path) -> None:
    async with playing(Played(job_states=[4], job_reasons=["job-hold-until-specified"])) as played:
        assert "until somebody releases it" in (await print_on(played, spool, tmp_path)).note


@pytest.mark.parametrize(
    ("state", "reason", "cause"),
    [
        (8, "document-format-error", "document_unprintable"),
        (8, "aborted-by-system", "printer_refused"),
        (7, "job-canceled-by-user", "printer_refused"),
    ],
)
async def test_what_ends_badly_ends(state: int, reason: str, cause: str, spool: Spool, tmp_path: Path) -> None:
    async with playing(Played(job_states=[5, state], job_reasons=[reason])) as played:
        error = await fails(played, spool, tmp_path)
        assert (error.cause, error.retryable, error.detail) == (cause, False, reason)
        before = list(played.asked)
        await fails(played, spool, tmp_path)
        assert played.asked == before


@pytest.mark.parametrize("status", range(0x0400, 0x0510))
def test_each_refusal_has_its_sentence(status: int) -> None:
    error = refusal(status)
    assert error.retryable == (status in {0x0405, 0x0500, 0x0502, 0x0504, 0x0505, 0x0506, 0x0507, 0x050A})
    assert error.cause in {"printer_stopped", "printer_refused", "document_unprintable"}
    assert (error.cause == "printer_stopped") == error.retryable


def test_reasons_that_do_not_hinder_are_not_told() -> None:
    assert printer_sentences(["media-empty-report", "toner-low", "none", "media-empty-error", "media-needed"]) == (
        "The printer is out of paper.",
    )


async def test_a_folder_gets_a_document_once(spool: Spool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    printer = FolderPrinter(out, Options())
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
async def test_a_file_is_called_as_its_document(
    spool: Spool, tmp_path: Path, title: str, media_type: str, named: str
) -> None:
    attempt = (await Journal.load(spool.store("print"), "mail:1")).attempt("0.0")
    out = tmp_path / "out"
    out.mkdir()
    await FolderPrinter(out, Options()).print(Document(SCAN, "pdf", title, "x", media_type=media_type), attempt)
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
def test_addresses(text: str, good: bool) -> None:
    assert is_address(text) is good

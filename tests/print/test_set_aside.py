"""A mail or fax that is set aside leaves no job at the printer, which could print nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fax.faxes import FAX, fax_device, store_incoming
from fax.faxes import make_mail as make_fax
from mailslot.service.handling import handle_waiting
from mailslot.service.pipeline import Done
from mailslot_plugins.fax.pipeline import pipeline as fax_pipeline
from mailslot_plugins.print.pipeline import pipeline
from mailslot_plugins.printers.ipp.operations import GET_JOBS, SEND_DOCUMENT, Operations
from mailslot_plugins.printers.printer import PrinterOptions
from print.sample_mails import RECORD, handle_due, make_mail, run_device, scan

if TYPE_CHECKING:
    from pathlib import Path

    from lab.printer import Printer
    from mailslot_plugins.printers.ipp.codec import Response


@pytest.fixture
def broken_off(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Printing breaks off between the creation of a job and its document, until this is undone."""
    execute = Operations.execute

    async def execute_until_document(
        operations: Operations, operation: int, *arguments: object, **named: object
    ) -> Response:
        if operation == SEND_DOCUMENT:
            raise RuntimeError
        return await execute(operations, operation, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Operations, "execute", execute_until_document)
    return monkeypatch


async def unfinished_jobs(printer: Printer) -> int:
    """The number of jobs that the printer has not ended."""
    response = await Operations(printer.uri, PrinterOptions(timeout=120)).execute(GET_JOBS)
    return sum("job-id" in group.attributes for group in response.groups)


async def test_a_mail(printer: Printer, tmp_path: Path, broken_off: pytest.MonkeyPatch) -> None:
    now = 1.9e9
    async with run_device(tmp_path / "home", printer.uri, now=lambda: now) as device:
        [result] = await handle_due(device, make_mail(scan()))
        assert (result.outcome, await unfinished_jobs(printer)) == ("later", 1)
        for _ in range(2):
            now += 601
            [result] = await handle_waiting(device, RECORD, pipeline)
        assert (result.outcome, await unfinished_jobs(printer)) == ("set aside", 0)
        broken_off.undo()
        [result] = await handle_due(device, make_mail(scan("other.pdf"), number=2))
        assert result.outcome == "done"
        # A person has it handled again.
        await device.spool.ledger.retry(1)
        [result] = await handle_waiting(device, RECORD, pipeline)
        assert result.outcome == "done"


async def test_a_fax(printer: Printer, tmp_path: Path, broken_off: pytest.MonkeyPatch) -> None:
    async with fax_device(tmp_path / "home", f'deliver_to = "printer {printer.uri}; folder fax"') as device:
        mail = store_incoming(make_fax(FAX), tmp_path)
        with pytest.raises(RuntimeError):
            await fax_pipeline.handle(mail, device)
        assert await unfinished_jobs(printer) == 1
        await fax_pipeline.abandon(mail, device)
        assert await unfinished_jobs(printer) == 0
        broken_off.undo()
        assert await fax_pipeline.handle(mail, device) == Done("printed")

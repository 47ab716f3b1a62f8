"""Documents printed into the folder of the day."""

from datetime import datetime
from pathlib import Path

from mailslot.plugin import Spool
from mailslot_plugins.printers.journal import Journal
from mailslot_plugins.printers.printer import Document, PrinterOptions
from mailslot_plugins.printers.printing import print_document
from mailslot_sample.dated import printer


async def test_a_text(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Hello.")
    folder = tmp_path / "printed"
    made = printer(f"dated {folder}", PrinterOptions())
    assert not (await made.check()).ready
    folder.mkdir()
    assert (await made.check()).ready
    document = Document(tmp_path / "letter", "text", "Letter", "alice@example.com")
    async with Spool(tmp_path / "home") as spool:
        journal = await Journal.load(spool.store("print"), "mail:1")
        for _ in range(2):  # the second time it is known to be printed
            await print_document(made, document, tmp_path, journal, "letter")
        resumed = await made.resume(journal.attempt("letter.0"))
        unknown = await made.resume(journal.attempt("other.0"))
    [file] = folder.glob("*/*")
    assert file.parent.name == datetime.now().astimezone().date().isoformat()
    assert resumed is not None
    assert resumed.job == file.name
    assert unknown is None

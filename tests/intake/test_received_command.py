"""``mailslot received show`` and ``save``: the documents of a fetched mail."""

from __future__ import annotations

import json
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest
from anyio import to_thread

from command_line import mailslot
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

PAGE = b"%PDF-1.4 a page"


@pytest.fixture
def anyio_backend() -> str:
    """The command is a process of its own."""
    return "asyncio"


def letter(*names: str) -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = "Alice <alice@example.com>", "Two pages"
    message.set_content("Only text.\n")
    for name in names:
        message.add_attachment(PAGE, maintype="application", subtype="pdf", filename=name)
    return message.as_bytes()


async def receive(home: Path, octets: bytes) -> int:
    async with Spool(home) as spool:
        async with spool.ledger.receive("fax-pop", "uid-1") as incoming:
            await incoming.write(octets)
        [mail] = await spool.ledger.mails()
        return mail.id


async def run(home: Path, *arguments: object, code: int = 0) -> str:
    ran = await to_thread.run_sync(lambda: mailslot("received", *arguments, MAILSLOT_HOME=str(home), COLUMNS="80"))
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


async def test_documents_are_shown_and_saved(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "saved"
    folder.mkdir()
    # The names come from a stranger.
    number = await receive(home, letter("../../page.pdf", "page.pdf"))
    shown = await run(home, "show", number)
    assert "alice@example.com" in shown
    assert "page (2).pdf" in shown
    document = json.loads(await run(home, "show", number, "--json"))
    assert [each["name"] for each in document["documents"]] == ["page.pdf", "page (2).pdf"]
    assert "Saved" in await run(home, "save", number, folder)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == {"page.pdf": PAGE, "page (2).pdf": PAGE}
    assert "--force" in await run(home, "save", number, folder, code=1)
    await run(home, "save", number, folder, "--mail")
    assert (folder / f"mail-{number}.eml").read_bytes().endswith(b"\n")


async def test_a_mail_without_documents_and_one_that_is_gone(tmp_path: Path) -> None:
    number = await receive(tmp_path, letter())
    assert "received save 1 --mail" in await run(tmp_path, "show", number)
    assert "--mail saves the mail" in await run(tmp_path, "save", number, tmp_path, code=2)
    async with Spool(tmp_path) as spool:
        await spool.ledger.mark_done(number, "printed")
    shown = await run(tmp_path, "show", number)
    assert "printed" in shown
    assert "not kept any more" in shown
    assert "not kept any more" in await run(tmp_path, "save", number, code=1)
    assert "99" in await run(tmp_path, "show", 99, code=1)


async def test_a_mail_that_cannot_be_taken_apart_can_be_saved(tmp_path: Path) -> None:
    octets = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2_000))
    number = await receive(tmp_path / "home", octets)
    assert "cannot be taken apart" in await run(tmp_path / "home", "save", number, code=2)
    shown = await run(tmp_path / "home", "show", number)
    assert "cannot be taken apart" in shown
    assert f"received save {number} --mail" in shown
    await run(tmp_path / "home", "save", number, tmp_path, "--mail")
    assert (tmp_path / f"mail-{number}.eml").read_bytes() == octets

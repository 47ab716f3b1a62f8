"""Mails printed into a folder: what is printed, what is not, and the replies."""

from __future__ import annotations

import io
import json
from email.message import EmailMessage
from functools import partial
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync
from PIL import Image

from mailslot.message import Message
from mailslot.service.handling import handle_waiting
from mailslot.slots.section import DEVICE
from mailslot.spool.job import NewJob
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.print.pipeline import pipeline
from print.sample_mails import ALICE, RECORD, SCAN, handle_due, make_mail, run_device, scan, sent_messages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a mail; the whole way of one has tests on both."""
    return "asyncio"


def picture(kind: str = "PNG", size: tuple[int, int] = (300, 300)) -> bytes:
    octets = io.BytesIO()
    Image.effect_noise(size, 90).save(octets, kind)
    return octets.getvalue()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def titles(out: Path) -> list[str]:
    return sorted(path.name.partition(" ")[2] for path in out.iterdir())


def contents(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in out.iterdir()]


async def test_all_attachments_come_out_as_they_are(tmp_path: Path, out: Path) -> None:
    mail = make_mail(
        scan(), ("photo.jpg", picture("JPEG"), "image/jpeg"), ("note.txt", b"Hello", "text/plain"), text="x"
    )
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        [found] = await handle_due(device, mail)
        assert (found.outcome, found.note) == ("done", "3 documents were printed.")
        assert await sent_messages(device) == []
        assert not list((device.home / "print").iterdir())
    assert titles(out) == ["note.txt.pdf", "photo.jpg", "scan.pdf"]
    assert SCAN in contents(out)


async def test_a_relative_path_means_a_folder_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever folder the service was started in."""
    monkeypatch.chdir(tmp_path)
    async with run_device(tmp_path / "home", "folder prints") as device:
        (device.home / "prints").mkdir()
        [found] = await handle_due(device, make_mail(scan()))
        assert found.outcome == "done"
        assert len(list((device.home / "prints").iterdir())) == 1


async def test_a_name_in_long_letters_is_cut_to_what_a_folder_takes(tmp_path: Path, out: Path) -> None:
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        [found] = await handle_due(device, make_mail(scan("\N{CJK UNIFIED IDEOGRAPH-20BB7}" * 76 + ".pdf")))
    assert (found.outcome, found.note) == ("done", "1 document was printed.")
    [title] = titles(out)
    assert title == "\N{CJK UNIFIED IDEOGRAPH-20BB7}" * 50 + ".pdf"


@pytest.mark.parametrize(
    ("body", "attached", "expected"),
    [
        ("never", True, ["scan.pdf"]),
        ("without_attachment", True, ["scan.pdf"]),
        ("without_attachment", False, ["text of the mail.pdf"]),
        ("always", True, ["scan.pdf", "text of the mail.pdf"]),
    ],
)
async def test_when_the_text_is_printed(
    body: str, attached: bool, expected: list[str], tmp_path: Path, out: Path
) -> None:
    mail = make_mail(*([scan()] if attached else []), text="Dear printer,\n\nplease.")
    async with run_device(tmp_path / "home", f"folder {out}", f'body = "{body}"') as device:
        [found] = await handle_due(device, mail)
    assert found.outcome == "done"
    assert titles(out) == expected


async def test_a_mail_without_printable_parts_gets_one_reply(tmp_path: Path, out: Path) -> None:
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        [found] = await handle_due(device, make_mail())
        assert found.outcome == "set aside"
        assert found.note == "The mail: It holds nothing that can be printed. (answered by job 1)"
        [reply] = await sent_messages(device)
        await device.spool.ledger.retry(found.mail.id)
        [again] = await handle_waiting(device, RECORD, pipeline)
        assert again.note == found.note
        assert len(await device.spool.jobs()) == 1
    assert reply["To"] == ALICE
    assert reply["Subject"] == "Auto: Re: Please print"
    assert reply["Auto-Submitted"] == "auto-replied"
    assert reply["In-Reply-To"] == "<1@example.com>"
    assert "Copier could not print:" in reply.get_content()


async def test_one_reply_names_all_documents_that_were_not_printed(tmp_path: Path, out: Path) -> None:
    mail = make_mail(
        ("broken.pdf", b"%PDF-1.7\nnothing", "application/pdf"),
        scan(),
        ("evil.pdf", b"%!PS-Adobe-3.0\nshowpage", "application/pdf"),
        ("lies.png", b"\x1b%-12345X@PJL SET SERVICEMODE=ON\r\n", "image/png"),
        ("tool.exe", b"MZ\0\1\2", "application/pdf"),
        ("empty.pdf", b"", "application/pdf"),
    )
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        [found] = await handle_due(device, mail)
        [reply] = await sent_messages(device)
    assert found.outcome == "done"
    assert found.note.startswith("1 document was printed, not broken.pdf: The PDF cannot be opened; it is damaged.;")
    assert reply.get_content().splitlines()[2:] == [
        "broken.pdf: The PDF cannot be opened; it is damaged.",
        "evil.pdf: PostScript is not printed here.",
        "lies.png: PJL is not printed here.",
        "tool.exe: Documents of this kind cannot be printed.",
        "empty.pdf: It is empty.",
    ]
    assert titles(out) == ["scan.pdf"]


async def test_a_reply_is_in_the_language_of_the_device(tmp_path: Path, out: Path) -> None:
    mail = make_mail(("empty.pdf", b"", "application/pdf"), scan())
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        await run_sync(partial(device.records.settings.change_section, DEVICE, {"language": "de"}))
        await device.refresh()
        [found] = await handle_due(device, mail)
        [reply] = await sent_messages(device)
    assert reply.get_content().splitlines() == ["Copier konnte nicht drucken:", "", "empty.pdf: Es ist leer."]
    assert translated(found.note, "de") == (
        "1 Dokument wurde gedruckt, aber nicht empty.pdf: Es ist leer. (beantwortet mit Auftrag 1)."
    )


async def test_printer_languages_if_the_administrator_allows_them(tmp_path: Path, out: Path) -> None:
    mail = make_mail(("a.ps", b"%!PS-Adobe-3.0\nshowpage", "application/postscript"))
    async with run_device(tmp_path / "home", f"folder {out}", "printer_languages = true") as device:
        [found] = await handle_due(device, mail)
    assert found.outcome == "done"
    assert titles(out) == ["a.ps"]


async def test_logos_and_invitations_are_not_printed(tmp_path: Path, out: Path) -> None:
    mail = make_mail(scan(), ("meeting.ics", b"BEGIN:VCALENDAR\n", "text/calendar"))
    mail.add_attachment(
        picture(size=(20, 20)), maintype="image", subtype="png", cid="<logo@x>", disposition="inline", filename="x.png"
    )
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        [found] = await handle_due(device, mail)
    assert found.note == "1 document was printed."
    assert titles(out) == ["scan.pdf"]


def without(mail: EmailMessage, name: str, value: str | None = None) -> EmailMessage:
    del mail[name]
    if value is not None:
        mail[name] = value
    return mail


async def test_senders_that_may_not_print(tmp_path: Path, out: Path) -> None:
    def changed(name: str, value: str | None, number: int) -> EmailMessage:
        return without(make_mail(scan(), number=number), name, value)

    mails = [
        changed("From", "Bob <bob@example.com>", 1),
        changed("From", '"alice@example.com" <eve@evil.example>', 2),
        changed("From", "alice@example.com, eve@evil.example", 3),
        changed("From", "eve@sub.office.example", 4),
        changed("From", "аlice@example.com", 5),
        changed("From", "printer@example.com", 6),
        changed("Sender", "eve@evil.example", 7),
        changed("Auto-Submitted", "auto-replied", 8),
        changed("Return-Path", "<>", 9),
        changed("List-Id", "<all.example.com>", 10),
        changed("From", None, 11),
        changed("From", "group: alice@example.com;, eve@evil.example", 12),
    ]
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        found = await handle_due(device, *mails)
        assert await device.spool.jobs() == []
    assert [each.outcome for each in found] == ["set aside"] * len(mails)
    assert [each.note for each in found[:4]] == [
        "Not printed, since bob@example.com is not an allowed sender.",
        "Not printed, since eve@evil.example is not an allowed sender.",
        "Not printed, since it does not have exactly one sender.",
        "Not printed, since eve@sub.office.example is not an allowed sender.",
    ]
    assert titles(out) == []


async def test_a_report_is_added_to_its_job_and_not_printed(tmp_path: Path, out: Path) -> None:
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        message = Message(sender="printer@example.com", to=["alice@example.com"], text="x")
        new = NewJob("print", "smtp", "printer@example.com", ["alice@example.com"], "x", 3600.0)
        job = await device.spool.accept(new, message)
        report = EmailMessage()
        report["Return-Path"], report["From"] = "<>", "MAILER-DAEMON@mail.test"
        report["Subject"], report["X-Failed-Recipients"] = "Mail delivery failed", "alice@example.com"
        report.set_content(f"550 5.1.1 No such user\n\nMessage-ID: {job.message_id}\n")
        [found] = await handle_due(device, report)
        assert (found.outcome, found.note) == ("done", f"a report about job {job.id}: failed")
        assert (await device.spool.job(job.id)).notes["report of alice@example.com"].startswith("failed: 5.1.1")
    assert titles(out) == []


async def test_a_domain_may_print_and_only_the_sender_gets_the_reply(tmp_path: Path, out: Path) -> None:
    mail = without(make_mail(("x.exe", b"MZ\0", "application/pdf")), "From", "carol@Office.example")
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        [found] = await handle_due(device, without(mail, "Return-Path", "<eve@evil.example>"))
        assert "not answered: eve@evil.example is not an allowed sender" in found.note
        assert await device.spool.jobs() == []


async def test_mail_that_a_trusted_server_did_not_authenticate(tmp_path: Path, out: Path) -> None:
    def signed(number: int, *values: str) -> bytes:
        fields = "".join(f"Authentication-Results: {value}\n" for value in values)
        return fields.encode() + make_mail(scan(), number=number).as_bytes()

    genuine = "mx.example.net; dmarc=pass (p=none) header.from=example.com"
    mails = [
        signed(1, genuine),
        signed(2),
        signed(3, "mx.example.net; dmarc=fail header.from=example.com", genuine),
        signed(4, "mx.example.net; dmarc=pass header.from=evil.example"),
        signed(5, genuine.replace("mx.", "evil.")),
        signed(6, "mx.example.net; spf=pass smtp.mailfrom=alice@example.com"),
    ]
    async with run_device(tmp_path / "home", f"folder {out}", 'trusted_server = "mx.example.net"') as device:
        found = await handle_due(device, *mails)
        assert await device.spool.jobs() == []
    assert [each.outcome for each in found] == ["done", *["set aside"] * 4, "done"]
    assert found[1].note == "Not printed, since mx.example.net has not checked who sent it."
    assert found[3].note == "Not printed, since mx.example.net has not found it to be from example.com."


async def test_limits_of_pages_and_mails(tmp_path: Path, out: Path) -> None:
    more = "max_pages = 3\nmails_per_hour = 3\npages_per_day = 5"
    async with run_device(tmp_path / "home", f"folder {out}", more) as device:
        [found] = await handle_due(device, make_mail(scan("a"), scan("b"), subject="x #print copies=2"))
        assert found.note.startswith("1 document was printed, not b: The mail has more than 3 pages, including copies.")
        [found] = await handle_due(device, make_mail(scan(), scan(), scan(), number=2))
        assert found.outcome == "done"
        [found] = await handle_due(device, make_mail(scan(), number=3))
        assert found.note.startswith("scan.pdf: alice@example.com may print 5 pages a day.")
        [found] = await handle_due(device, make_mail(scan(), subject="other", number=4))
        assert found.outcome == "set aside"


async def test_options_reach_a_command(tmp_path: Path, out: Path) -> None:
    script = tmp_path / "print"
    script.write_text(
        "#!/bin/sh\nenv | grep MAILSLOT | grep -v -e MAILSLOT_LAB -e MAILSLOT_LEFT_OUT | sort "
        f'> "{out}/said"\ncp "$1" "{out}/document"\n'
    )
    script.chmod(0o755)
    mail = make_mail(scan(), subject="Plan #print copies=2 duplex=short", text="#print colour=mono media=a4 tray=9\nHi")
    async with run_device(tmp_path / "home", f"command {script}") as device:
        [found] = await handle_due(device, mail)
    assert found.note == "1 document was printed. The option tray=9 is not known."
    result = dict(line.split("=", 1) for line in (out / "said").read_text().splitlines())
    assert result.pop("MAILSLOT_TOKEN").startswith("mail-")
    assert result == {
        "MAILSLOT_COLOR": "monochrome",
        "MAILSLOT_COPIES": "2",
        "MAILSLOT_MEDIA": "iso_a4_210x297mm",
        "MAILSLOT_OWNER": ALICE,
        "MAILSLOT_SIDES": "two-sided-short-edge",
        "MAILSLOT_TITLE": "scan.pdf",
        "MAILSLOT_TYPE": "application/pdf",
    }
    assert (out / "document").read_bytes() == SCAN


async def test_commands_that_fail_temporarily_or_for_good(tmp_path: Path, out: Path) -> None:
    for status, outcome in ((75, "later"), (1, "set aside")):
        script = tmp_path / f"print{status}"
        script.write_text(f"#!/bin/sh\nexit {status}\n")
        script.chmod(0o755)
        async with run_device(tmp_path / str(status), f"command {script}") as device:
            [found] = await handle_due(device, make_mail(scan()))
        assert found.outcome == outcome


async def test_a_document_that_waits_too_long_is_reported(tmp_path: Path, out: Path) -> None:
    moment = [1_800_000_000.0]
    gone = out.rename(tmp_path / "elsewhere")  # noqa: ASYNC240 - of a test
    async with run_device(tmp_path / "home", f"folder {out}", "wait_hours = 2", lambda: moment[0]) as device:
        [found] = await handle_due(device, make_mail(scan()))
        assert (found.outcome, found.note) == ("later", "The folder for printed documents is not there.")
        moment[0] += 7000
        [found] = await handle_due(device)
        assert found.outcome == "later"
        moment[0] += 300
        [found] = await handle_due(device)
        assert found.outcome == "set aside"
        [reply] = await sent_messages(device)
        assert "The folder for printed documents is not there." in reply.get_content()
        # A person has it printed after all.
        gone.rename(out)
        await device.spool.ledger.retry(found.mail.id)
        [found] = await handle_due(device)
        assert found.note == "1 document was printed."
    assert titles(out) == ["scan.pdf"]


async def test_without_a_printer_mail_waits(tmp_path: Path) -> None:
    async with run_device(tmp_path / "home", "teapot x") as device:
        [found] = await handle_due(device, make_mail(scan()))
    assert found.outcome == "later"


async def test_journals_of_finished_mails_are_reduced(tmp_path: Path, out: Path) -> None:
    async with run_device(tmp_path / "home", f"folder {out}") as device:
        await handle_due(device, make_mail(scan(), number=1), make_mail(scan(), number=2), make_mail(scan(), number=3))
        kept = {key: value for key, value in (await device.store("print").items()).items() if key.startswith("mail:")}
    assert json.dumps(kept["mail:1"]) == '{"from": "alice@example.com", "subject": "Please print", "pages": 1}'
    assert len(kept) == 3

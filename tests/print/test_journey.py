"""A mail from a mail program to paper: Postfix, Dovecot, the poll, and an IPP printer."""

from __future__ import annotations

import email
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pypdfium2
import pytest
from PIL import ImageChops

from lab.users import PASSWORD
from mailslot import OAuth, Password, StaticToken, connect_smtp
from mailslot.service.device import open_device
from mailslot.service.poller import poll_once
from mailslot.service.worker import Worker
from mailslot.slots.records import Records
from mailslot_plugins.print.pipeline import pipeline

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    import trustme
    from PIL import Image

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.printer import Printer
    from lab.provider import Provider

COPIER, ALICE, BOB = "daemon@example.test", "alice@example.test", "bob@example.test"
SCAN = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"

SETTINGS = """
[records.smtp]
server = "localhost"
port = {smtp}
security = "starttls"
authentication = "oauth2"
account = "daemon@example.test"
token_source = "file {folder}/token"
ca_file = "{folder}/ca.pem"

[records.print-pop]
server = "localhost"
port = {pop}
security = "tls"
authentication = "oauth2"
account = "daemon@example.test"
token_source = "file {folder}/token"
ca_file = "{folder}/ca.pem"
first_poll = "all"

[print]
printer = "{printer}"
allowed_senders = ["alice@example.test"]
"""


@pytest.fixture(autouse=True)
def _empty(dovecot: Dovecot) -> Iterator[None]:
    for user in (COPIER, ALICE, BOB):
        dovecot.empty(user)
    yield
    for user in (COPIER, ALICE, BOB):
        dovecot.empty(user)


@pytest.fixture
def home(
    tmp_path: Path, provider: Provider, dovecot: Dovecot, postfix: Postfix, printer: Printer, ca: trustme.CA
) -> Path:
    """A device's folder."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "token").write_text(provider.token(COPIER))
    (tmp_path / "token").chmod(0o600)
    folder = tmp_path / "home"
    folder.mkdir()
    settings = SETTINGS.format(
        smtp=postfix.submission.port, pop=dovecot.pop3s.port, folder=tmp_path, printer=printer.uri
    )
    (folder / "mailslot.toml").write_text(settings)
    return folder


def mail(sender: str, number: int, *attachments: tuple[str, bytes]) -> bytes:
    message = EmailMessage()
    message["From"], message["To"] = sender, COPIER
    message["Subject"] = "Please print"
    message["Message-ID"] = f"<{number}@example.test>"
    message.set_content("As attached.\n")
    for name, octets in attachments:
        message.add_attachment(octets, maintype="application", subtype="pdf", filename=name)
    return message.as_bytes(policy=policy.SMTP)


def page(octets: bytes) -> Image.Image:
    with pypdfium2.PdfDocument(octets) as document:
        image: Image.Image = document[0].render(scale=1).to_pil().convert("L")
        return image


async def arrived(dovecot: Dovecot, user: str, number: int) -> list[bytes]:
    with anyio.fail_after(120):
        while len(dovecot.messages(user)) < number:  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.02)
    return dovecot.messages(user)


async def test_from_mail_to_paper(
    home: Path,
    dovecot: Dovecot,
    postfix: Postfix,
    provider: Provider,
    printer: Printer,
    lab_context: ssl.SSLContext,
) -> None:
    before = set(printer.spool.iterdir())
    alice = OAuth(ALICE, StaticToken(provider.token(ALICE)))
    async with connect_smtp(postfix.submission, alice, ssl_context=lab_context) as smtp:
        await smtp.submit(ALICE, [COPIER], mail(ALICE, 1, ("plan.pdf", SCAN.read_bytes())))
        await smtp.submit(ALICE, [COPIER], mail(ALICE, 2, ("broken.pdf", b"%PDF-1.4\nnothing at all")))
    async with connect_smtp(postfix.submission, Password(BOB, PASSWORD), ssl_context=lab_context) as smtp:
        await smtp.submit(BOB, [COPIER], mail(BOB, 3, ("plan.pdf", SCAN.read_bytes())))
    await arrived(dovecot, COPIER, 3)

    async with open_device(Records(home), [pipeline.section]) as device:
        report = await poll_once(device, "print-pop", pipeline)
        assert report.ok
        assert dovecot.messages(COPIER) == []
        assert sorted(each.outcome for each in report.handled) == ["done", "set aside", "set aside"]
        [new] = [path for path in set(printer.spool.iterdir()) - before if path.suffix != ".prn"]
        octets = new.read_bytes()
        assert octets == SCAN.read_bytes()
        assert ImageChops.difference(page(octets), page(SCAN.read_bytes())).getbbox() is None
        await Worker(device).deliver_due()
        assert [job.state for job in await device.spool.jobs()] == ["sent"]
    [reply] = await arrived(dovecot, ALICE, 1)
    result = email.message_from_bytes(reply, policy=policy.default)
    assert result["Subject"] == "Auto: Re: Please print"
    assert result["In-Reply-To"] == "<2@example.test>"
    assert "broken.pdf: The PDF cannot be opened; it is damaged." in result.get_content()
    assert dovecot.messages(BOB) == []

"""A mail through the whole device: fetched from the sandbox, recorded in the journal, and reported by mail."""

from pathlib import Path

import pytest

from mailslot.plugin import Records, Secret, open_device, poll_once
from mailslot_plugins.sandbox import run_sandbox
from mailslot_sample.journal import pipeline, write_once

USER = "print@example.com"
MAIL = b"From: Alice <alice@example.com>\r\nSubject: Hello\x07\r\nMessage-ID: <1@example.com>\r\n\r\nHello.\r\n"


@pytest.mark.parametrize("report_to", ["", "boss@example.com"])
async def test_a_mail(tmp_path: Path, report_to: str) -> None:
    async with run_sandbox() as sandbox:
        (tmp_path / "ca.pem").write_bytes(sandbox.ca_pem)
        (tmp_path / "mailslot.toml").write_text(f'[journal]\nreport_to = "{report_to}"\n' if report_to else "")
        records = Records(tmp_path)
        settings = {
            "server": sandbox.pop3s.host,
            "port": sandbox.pop3s.port,
            "security": "tls",
            "authentication": "password",
            "account": USER,
            "ca_file": str(tmp_path / "ca.pem"),
            "first_poll": "all",
            "maildrop": "limited",
            "maildrop_options": "at_most=1",
        }
        records.change("print-pop", settings, {"password": Secret("open sesame")})
        records.change("smtp", {"sender_address": "scanner@example.com"}, {})
        sandbox.maildrops[USER].add(MAIL)
        sandbox.maildrops[USER].add(MAIL.replace(b"<1@", b"<2@"))
        async with open_device(records, [pipeline.section]) as device:
            report = await poll_once(device, "print-pop", pipeline)
            assert [(each.outcome, each.note) for each in report.handled] == [("done", "recorded")]
            jobs = await device.spool.jobs()
        assert len(sandbox.maildrops[USER].messages) == 1, "one at a time"
    [line] = (tmp_path / "journal.txt").read_text().splitlines()
    number, _, sender, subject = line.split("\t")
    assert (number, sender, subject.strip()) == ("1", "alice@example.com", "Hello")
    told = [(job.pipeline, recipient.address) for job in jobs for recipient in job.recipients]
    assert told == ([("journal", report_to)] if report_to else [])


def test_a_line_is_written_once(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    for number in (1, 11, 1):
        write_once(file, number, f"{number}\tx")
    assert file.read_text() == "1\tx\n11\tx\n"

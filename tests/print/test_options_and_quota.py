"""Print options, quotas of senders, and the list of received mail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mailslot import InputError
from mailslot.cli.app import app
from mailslot_plugins.print.options import OPTION_NAMES, PrintOptions, parse_print_options
from mailslot_plugins.print.quota import DAY, HOUR, PrintedMail, count_mail
from mailslot_plugins.print.section import SECTION
from print.sample_mails import handle_due, make_mail, run_device, scan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("subject", "text", "options"),
    [
        ("Plan", "Hello", PrintOptions(text="Hello")),
        ("Plan #print copies=3", "Hi", PrintOptions(copies=3, text="Hi")),
        ("Re: Plan #PRINT Copies=3 DUPLEX=long", "", PrintOptions(copies=3, sides="two-sided-long-edge")),
        ("x", "\n#print color=mono\nparagraph", PrintOptions(color="monochrome", text="\nparagraph")),
        ("x", "#print paper=letter", PrintOptions(media="na_letter_8.5x11in")),
        ("#printer copies=2", "", PrintOptions()),
        ("x#print copies=2", "", PrintOptions()),
        ("x #print copies=99999", "", PrintOptions(copies=10, ignored=("At most 10 copies are made.",))),
        ("x #print copies=-1", "", PrintOptions(ignored=("The option copies=-1 is not known.",))),
        ("x #print copies=٣", "", PrintOptions(ignored=("The option copies=٣ is not known.",))),
        ("x #print pages=1-", "", PrintOptions(ignored=("The option pages=1- is not known.",))),
        ("x", "1\n2\n3\n4\n5\n#print copies=2", PrintOptions(text="1\n2\n3\n4\n5\n#print copies=2")),
        ("x", "I said:\n> #print copies=2", PrintOptions(text="I said:\n> #print copies=2")),
    ],
)
def test_options(subject: str, text: str, options: PrintOptions) -> None:
    assert parse_print_options(subject, text, OPTION_NAMES, 10) == options


def test_options_that_are_not_allowed() -> None:
    found = parse_print_options("#print copies=2 color=mono", "", ("color",), 10)
    assert found == PrintOptions(color="monochrome", ignored=("The option copies is not allowed.",))


@given(st.text(), st.text(alphabet="#print copies=29\n\u202e duplex", max_size=300))
def test_any_options_are_read(subject: str, text: str) -> None:
    found = parse_print_options(f"{subject} #print {text}", text, OPTION_NAMES, 10)
    assert 1 <= found.copies <= 10
    assert all(each.isprintable() for each in found.ignored)


def test_quotas() -> None:
    uses: list[PrintedMail] = []
    for mail in range(3):
        uses, refusal = count_mail(uses, PrintedMail(mail, 1000.0 + mail, "a", 10), mails_per_hour=3, pages_per_day=40)
        assert refusal == ""
    again, refusal = count_mail(uses, PrintedMail(2, 1500.0, "a", 10), mails_per_hour=3, pages_per_day=40)
    assert (len(again), refusal) == (3, ""), "the same mail counts once"
    _, refusal = count_mail(uses, PrintedMail(3, 1500.0, "a", 1), mails_per_hour=3, pages_per_day=40)
    assert refusal == "a has sent 3 mails within an hour"
    _, refusal = count_mail(uses, PrintedMail(3, 1500.0, "b", 1), mails_per_hour=3, pages_per_day=40)
    assert refusal == ""
    _, refusal = count_mail(uses, PrintedMail(3, 1010.0 + HOUR, "a", 11), mails_per_hour=3, pages_per_day=40)
    assert refusal == "a may print 40 pages a day"
    kept, refusal = count_mail(uses, PrintedMail(3, 1010.0 + DAY, "a", 40), mails_per_hour=3, pages_per_day=40)
    assert (len(kept), refusal) == (1, "")
    kept, refusal = count_mail(uses, PrintedMail(3, 10.0, "a", 1), mails_per_hour=4, pages_per_day=40)
    assert refusal == "", "a clock that was set back"
    assert all(use.at <= 10.0 for use in kept)


@pytest.mark.parametrize(
    ("key", "value"),
    [("printer", "teapot"), ("allowed_senders", "nobody"), ("body", "maybe"), ("options", "tray"), ("max_copies", "0")],
)
def test_invalid_settings(key: str, value: str) -> None:
    with pytest.raises((InputError, ValueError)):
        SECTION.keys[key].parse(value)


def test_received_mails_are_listed(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    out.mkdir()

    async def receive() -> None:
        async with run_device(home, f"folder {out}") as device:
            await handle_due(device, make_mail(scan(), subject="Plan", number=1), b"From: eve@evil.example\r\n\r\nx")

    anyio.run(receive)
    run = CliRunner().invoke(app, ["--home", str(home), "received", "--json"])
    assert run.exit_code == 0, run.output
    refused, printed = json.loads(run.output)
    assert (printed["state"], printed["from"], printed["subject"]) == ("done", "alice@example.com", "Plan")
    assert (printed["pages"], printed["reason"]) == (1, "1 document was printed.")
    assert (refused["state"], refused["from"], refused["pages"]) == ("set_aside", "eve@evil.example", None)
    run = CliRunner().invoke(app, ["--home", str(home), "received", "--state", "set_aside"], env={"COLUMNS": "200"})
    assert "eve@evil.example" in run.output
    assert "Plan" not in run.output
    run = CliRunner().invoke(app, ["--home", str(tmp_path / "none"), "received"])
    assert "No mail was received." in run.output

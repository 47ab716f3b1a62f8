"""``mailslot alert`` on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import command_line
from alerts.devices import ALERTS, SETTINGS

if TYPE_CHECKING:
    from pathlib import Path


def mailslot(home: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    ran = command_line.mailslot("--home", home, *arguments, COLUMNS="200")
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout, ran.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "mailslot.toml").write_text(SETTINGS + ALERTS)
    return tmp_path


def test_raised_listed_and_cleared(home: Path) -> None:
    assert mailslot(home, "alert", "list") == ("No alarm is open.\n", "")
    assert json.loads(mailslot(home, "alert", "list", "--json")[0]) == []
    assert mailslot(home, "alert", "raise", "toner-low", "--part", "black", "--detail", "5 %") == (
        "Recorded: Toner low.\n",
        command_line.no_service(home),
    )
    mailslot(home, "alert", "raise", "toner_low", "--part", "black")
    [row] = json.loads(mailslot(home, "alert", "list", "--json")[0])
    assert (row["kind"], row["part"], row["detail"], row["state"], row["told"]) == (
        "toner_low",
        "black",
        "5 %",
        "open",
        1,
    )
    assert row["mail"]["state"] == "queued"
    mailslot(home, "alert", "clear", "toner_low")
    [row] = json.loads(mailslot(home, "alert", "list", "--json")[0])
    assert row["state"] == "ending"
    assert "toner_low black" in mailslot(home, "alert", "list")[0]


def test_an_unknown_kind(home: Path) -> None:
    output = mailslot(home, "alert", "raise", "papr_low", code=2)[1]
    assert output.startswith("There is no alert 'papr_low'. Did you mean paper_low?")
    mailslot(home, "alert", "clear", "", code=2)
    mailslot(home, "alert", "raise", code=2)


def test_the_reason_for_waiting_mail_is_shown(tmp_path: Path) -> None:
    stdout, stderr = mailslot(tmp_path, "alert", "raise", "jam", "--detail", "a\nb")
    assert stdout == "Recorded: Paper jam.\n"
    assert stderr == "Mail waits: there are no recipients: mailslot set alerts recipients=ADDRESS\n" + (
        command_line.no_service(tmp_path)
    )
    mailslot(tmp_path, "set", "alerts", "recipients=admin@example.test")
    output = mailslot(tmp_path, "alert", "list")[0]
    assert "Mail waits: alert.smtp has no sender address" in output
    assert "a b" in output
    mailslot(tmp_path, "set", "alert.smtp", "sender_address=copier@example.test")
    [row] = json.loads(mailslot(tmp_path, "alert", "list", "--json")[0])
    assert row["mail"]["state"] == "queued"


@pytest.mark.parametrize(
    "assignment",
    [
        "recipients=nobody",
        "minimum_severity=loud",
        "schedule=hourly",
        "timezone=Mars/Olympus",
        "timezone=../../etc/passwd",
        "printer=http://x",
        "mails_per_hour=0",
        "recipients_tonr=a@b.test",
    ],
)
def test_settings_that_are_not_allowed(tmp_path: Path, assignment: str) -> None:
    mailslot(tmp_path, "set", "alerts", assignment, code=2)

"""``mailslot addressbook``, and its names where a recipient is typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from command_line import mailslot
from mailslot.slots.records import Records
from mailslot_plugins.rules.section import SECTION
from scan.sample_documents import ACCOUNT, pdf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    settings = {"server": "127.0.0.1", "port": 9, "security": "none", "sender_address": ACCOUNT}
    Records(home).change("smtp", settings, {})
    return home


def addressbook(home: Path, *arguments: object, **more: object):
    return mailslot("--home", home, "addressbook", *arguments, **more)


def test_entries_are_added_listed_and_removed(home: Path) -> None:
    assert addressbook(home, "add", "Alice", "--address", "alice@example.com", "--group", "accounting").returncode == 0
    again = addressbook(home, "add", "alice", "--address", "a@example.com")
    assert (again.returncode, again.stderr) == (2, "There is an entry alice already; --replace replaces it.\n")
    assert addressbook(home, "add", "alice", "--address", "a@example.com", "--replace").returncode == 0
    [entry] = json.loads(addressbook(home, "list", "--json").stdout)
    assert entry == {
        "name": "alice",
        "display_name": "",
        "addresses": ["a@example.com"],
        "fax_addresses": [],
        "groups": [],
    }
    assert addressbook(home, "remove", "alice", "bob").returncode == 2
    assert json.loads(addressbook(home, "remove", "alice", "--json").stdout) == {"removed": ["alice"]}
    assert json.loads(addressbook(home, "list", "--json").stdout) == []


def test_an_import_is_tried_first_and_all_or_nothing(home: Path) -> None:
    octets = b"name;email\nAlice;alice@example.com\n;\nNobody;\n"
    tried = addressbook(home, "import", "-", "--dry-run", typed=octets)
    assert tried.returncode == 0
    assert "Would be added: 1 (alice)." in tried.stdout
    assert "Left out: Line 4: Nobody has no mail address." in tried.stdout
    assert json.loads(addressbook(home, "list", "--json").stdout) == []
    wrong = addressbook(home, "import", "-", typed=octets + b"Bob;nonsense\n")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Line 5: ")
    assert json.loads(addressbook(home, "list", "--json").stdout) == []
    document = json.loads(addressbook(home, "import", "-", "--json", typed=octets).stdout)
    assert (document["added"], document["dry_run"]) == (["alice"], False)
    exported = addressbook(home, "export").stdout
    assert exported.replace("\r\n", "\n").endswith("alice,Alice,alice@example.com,,\n")


def test_names_stand_for_recipients_of_scans_and_faxes(home: Path, tmp_path: Path) -> None:
    page = pdf(tmp_path / "page.pdf", 1)
    fax = "FAX=+12027653000@gateway.example"
    addressbook(home, "add", "alice", "--address", "alice@example.com", "--group", "office")
    addressbook(home, "add", "branch", "--address", "b@example.com", "--fax", fax, "--group", "office")
    [scan] = json.loads(mailslot("--home", home, "scan", page, "--to", "@office", "--json").stdout)
    assert scan["recipients"] == ["alice@example.com", "b@example.com"]
    sent = json.loads(mailslot("--home", home, "fax", "send", page, "--to", "@office", "--json").stdout)
    assert sent["recipients"] == [fax]
    unknown = mailslot("--home", home, "scan", page, "--to", "@offices")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "There is no @offices in the address book. Did you mean office?\n",
    )


def test_the_rules_hold_for_scans_and_faxes(home: Path, tmp_path: Path) -> None:
    page = pdf(tmp_path / "page.pdf", 1)
    commands = (["scan", page], ["fax", "send", page])
    rules = {"deny": ["*@example.net"], "archive": ["archive@example.com"], "sender": "user"}
    Records(home).settings.change_section(SECTION, rules)
    for number, command in enumerate(commands, start=1):
        refused = mailslot("--home", home, *command, "--to", "bob@example.net")
        assert refused.returncode == 1
        assert refused.stderr == (
            "bob@example.net is refused by the rule deny=*@example.net of this device. Nothing was sent.\n"
        )
        sent = mailslot(
            "--home", home, *command, "--to", "bob@example.com", "--from-user", "alice@example.com", "--delay", "2h"
        )
        assert sent.returncode == 3
        assert sent.stdout.startswith(f"Job {number} will be sent at ")
    assert "2 jobs are to be sent later." in mailslot("--home", home, "doctor").stdout
    for job in json.loads(mailslot("--home", home, "jobs", "--json").stdout):
        assert (job["state"], job["attempts"], job["cause"]) == ("deferred", 0, None)
        assert job["next_attempt"] is not None
        assert job["recipients"] == ["bob@example.com", "archive@example.com"]
    for file in (home / "spool").glob("*.job"):
        octets = file.read_bytes().partition(b"\n")[2]
        assert b"From: alice@example.com\r\n" in octets
        assert b"archive" not in octets

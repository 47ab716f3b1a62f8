"""Import of an untrusted export: what it may not change, which secrets it removes, and that it is atomic."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import tomlkit

from mailslot.errors import MailError
from mailslot.slots.records import Records
from mailslot.slots.settings_document import SettingsFileError
from mailslot.slots.settings_import import apply_import, plan_import
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "[mailslot]\nexport = 1\n"


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """A device with a password and a client secret in every record."""
    records = Records(tmp_path / "home")
    for record in ("smtp", "fax-pop", "print-pop"):
        settings = {
            "server": "mail.example.com",
            "security": "tls",
            "account": "scan@example.com",
            "authentication": "password",
            "token_endpoint": "https://login.example.com/token",
        }
        records.change(record, settings, {"password": Secret("geheim-1"), "client_secret": Secret("geheim-2")})
    return records


def kept(records: Records, record: str) -> frozenset[str]:
    return records.vault.fields(record)


BOTH = {"password", "client_secret"}
USUAL = "account = 'scan@example.com'\nauthentication = 'password'\nsecurity = 'tls'\n"
SAME = f"[records.fax-pop]\n{USUAL}server = 'mail.example.com'\ntoken_endpoint = 'https://login.example.com/token'\n"


@pytest.mark.parametrize(
    ("table", "dropped"),
    [
        (SAME, set()),
        (f"{SAME}check_interval = 5\n", set()),
        (SAME.replace("mail.example.com", "evil.example"), {"password"}),
        (f"{SAME}port = 2525\n", {"password"}),
        (SAME.replace("'tls'", "'starttls'"), {"password"}),
        (SAME.replace("login.example.com", "evil.example"), {"client_secret"}),
        (f"{SAME}issuer = 'https://evil.example'\n", {"client_secret"}),
        (f"{SAME}revocation_endpoint = 'https://evil.example/x'\n", {"client_secret"}),
        (f"{SAME}tenant = 'evil'\n", {"client_secret"}),
        (f"{SAME}maildrop = 'imap'\n", {"password"}),
        # Whatever a table does not hold is unset.
        (f"[records.fax-pop]\n{USUAL}provider = 'google'\n", BOTH),
        ("[records.fax-pop]\n", BOTH),
    ],
)
def test_misdirected_secrets_are_removed(records: Records, table: str, dropped: set[str]) -> None:
    plan = plan_import(records, HEAD + table, "e.toml")
    assert {name for names in plan.dropped.values() for name in names} == dropped
    assert len(plan.dropped_notes) == len(dropped)
    assert all("[records.fax-pop] The " in line and "enter it again" in line for line in plan.dropped_notes)
    assert kept(records, "fax-pop") == BOTH
    apply_import(records, plan)
    assert kept(records, "fax-pop") == BOTH - dropped
    assert kept(records, "smtp") == kept(records, "print-pop") == BOTH


@pytest.mark.parametrize(
    "table",
    [
        "[records.smtp]\ntoken_source = 'command /bin/evil'",
        "[records.smtp]\ntoken_source = 'file /etc/shadow'",
        "[records.smtp]\nca_file = '/tmp/evil.pem'",
        "[print]\nprinter = 'command /bin/evil'",
        "[print]\nprinter = 'folder /etc'",
        "[print]\nca_file = '/tmp/evil.pem'",
        "[fax]\ndeliver_to = ['mail a@example.com', 'folder /etc/cron.d']",
        "[fax]\ndeliver_to = ['printer command /bin/evil']",
        "[scan]\nfolder = '/root/.ssh'\nto = ['evil@evil.example']",
        "[panel]\ncertificate = '/tmp/evil.pem'",
        "[panel]\nkey = '/root/key.pem'",
        "[alerts]\nprinter_ca_file = '/tmp/evil.pem'",
    ],
)
def test_settings_that_need_a_login_are_listed(tmp_path: Path, table: str) -> None:
    records = Records(tmp_path / "home")
    plan = plan_import(records, HEAD + table, "e.toml")
    with pytest.raises(SettingsFileError, match="--allow-local") as raised:
        plan.check_local()
    [local] = [each for each in plan.changes if each.local]
    assert f"[{local.table}] {local.key} = " in str(raised.value)
    assert not records.home.exists()
    apply_import(records, plan)
    # What this device uses already is nothing new, and giving it up needs nobody in particular.
    plan_import(records, HEAD + table, "e.toml").check_local()
    emptied = plan_import(records, f"{HEAD}{table.splitlines()[0]}\n", "e.toml")
    emptied.check_local()
    assert emptied.changes


def test_settings_changed_during_the_import(records: Records) -> None:
    plan = plan_import(records, HEAD + SAME.replace("mail.example.com", "new.example"), "e.toml")
    records.change("fax-pop", {"timeout": 7}, {})
    before = records.settings.path.read_bytes()
    with pytest.raises(SettingsFileError, match="changed in the meantime"):
        apply_import(records, plan)
    assert records.settings.path.read_bytes() == before
    assert kept(records, "fax-pop") == BOTH


def test_a_password_entered_during_the_import(records: Records) -> None:
    """It was entered for the previous server, and the confirmation did not mention its removal."""
    records.change("fax-pop", {}, {"password": None})
    plan = plan_import(records, HEAD + SAME.replace("mail.example.com", "new.example"), "e.toml")
    records.change("fax-pop", {}, {"password": Secret("geheim-3")})
    before = records.settings.path.read_bytes()
    with pytest.raises(SettingsFileError, match="changed in the meantime"):
        apply_import(records, plan)
    assert records.settings.path.read_bytes() == before
    assert kept(records, "fax-pop") == BOTH


def test_an_unwritable_vault(records: Records) -> None:
    """Nothing changes: no setting, and no secret of another record."""
    moved = SAME.replace("mail.example.com", "new.example")
    plan = plan_import(records, f"{HEAD}{moved.replace('fax-pop', 'smtp')}{moved}", "e.toml")
    before = records.settings.path.read_bytes()
    (records.home / "vault" / "fax-pop.json.next").mkdir()
    with pytest.raises(MailError, match="cannot be written"):
        apply_import(records, plan)
    assert records.settings.path.read_bytes() == before
    assert kept(records, "fax-pop") == BOTH
    assert records.vault.read("smtp", "password") == Secret("geheim-1")


def test_unwritable_settings(records: Records) -> None:
    plan = plan_import(records, HEAD + SAME.replace("mail.example.com", "new.example"), "e.toml")
    before = records.settings.path.read_bytes()
    (records.home / "mailslot.toml.next").mkdir()
    with pytest.raises(SettingsFileError, match="cannot be written"):
        apply_import(records, plan)
    assert records.settings.path.read_bytes() == before
    assert records.vault.read("fax-pop", "password") == Secret("geheim-1")
    (records.home / "mailslot.toml.next").rmdir()
    apply_import(records, plan)
    assert kept(records, "fax-pop") == {"client_secret"}


def test_a_file_nested_too_deeply(records: Records) -> None:
    """Each of these ends at once, in a sentence."""
    deep = HEAD + "x = " + "[" * 20_000 + "]" * 20_000
    dotted = HEAD + ".".join(["a"] * 50_000) + " = 1\n"
    quoted = HEAD + "x = {" + " . ".join(["'a'"] * 20_000) + " = 1}\n"
    twice = f"{HEAD}[records.smtp]\nport = 25\n[records.smtp]\nport = 26\n"
    many = HEAD + "".join(f"[t{number}]\n" for number in range(10_000))
    for text in (
        deep,
        dotted,
        quoted,
        twice,
        many,
        f"{HEAD}[records]\nsmtp = 5\n",
        f"{HEAD}records = 5\n",
        "\0",
        "[[mailslot]]",
    ):
        with pytest.raises(SettingsFileError) as raised:
            plan_import(records, text, "e.toml")
        assert len(str(raised.value)) < 50_000


@pytest.mark.parametrize("name", ["sërver", "server\\u202e", "SERVER", "\\uff53erver", "__class__", ""])
def test_lookalike_keys(records: Records, name: str) -> None:
    with pytest.raises(SettingsFileError, match="there is no setting"):
        plan_import(records, f'{HEAD}[records.smtp]\n"{name}" = "x"\n', "e.toml")


def test_the_umask_has_no_effect(records: Records) -> None:
    mask = os.umask(0)
    try:
        apply_import(records, plan_import(records, HEAD + SAME.replace("mail.example.com", "new.example"), "e.toml"))
    finally:
        os.umask(mask)
    assert records.settings.path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_parsed_once_for_an_import_of_many_devices(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tomlkit takes a while for each line: parsed once for each device, a thousand took minutes, under the lock."""
    parse, parsed = tomlkit.parse, list[str]()

    def counting(text: str) -> tomlkit.TOMLDocument:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(tomlkit, "parse", counting)
    for size in ("", "size = 5_000_000\n"):
        devices = "".join(f"[devices.d{number}]\nuser = 'u{number}'\n{size}\n" for number in range(20))
        apply_import(records, plan_import(records, HEAD + devices, "e.toml"))
        assert len(parsed) == 1
        parsed.clear()
    found = records.settings.current().groups["devices"]
    assert [(name, each["user"], each["size"]) for name, each in found.items()] == [
        (f"d{number}", f"u{number}", 5_000_000) for number in range(20)
    ]

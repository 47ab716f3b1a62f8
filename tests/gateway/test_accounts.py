"""Accounts besides the seven slots: in the file, in the vault, and on another device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.errors import InputError
from mailslot.oauth.grant import Grant
from mailslot.slots.accounts import account_record, add_account, find_account, remove_account
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.slots.settings_export import export_settings
from mailslot.slots.settings_import import apply_import, plan_import
from mailslot.slots.slot import SLOTS, SlotDirectory
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

SET_UP = {"server": "mail.example.com", "security": "tls", "account": "office@example.com"}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "home")


def text(records: Records) -> str:
    return records.settings.path.read_text()


def test_an_account_is_a_slot_with_a_record_of_its_own(records: Records) -> None:
    add_account(records, "office", "SMTP")
    add_account(records, "inbox", "POP")
    directory = records.settings.slots()
    assert [slot.id for slot in directory.slots] == [*(slot.id for slot in SLOTS), "account.office", "account.inbox"]
    assert directory.find("account.inbox").protocol == "POP"
    assert directory.find("account.inbox").record == "account.inbox"
    assert [slot.id for slot in directory.of("account.office")] == ["account.office"]
    assert directory.of("account.gone") == ()
    records.change("account.office", SET_UP | {"authentication": "password"}, {"password": Secret("geheim")})
    assert records.effective("account.office").port == 465
    assert records.settings.load()["smtp"].server is None
    assert records.vault.fields("account.office") == {"password"}
    assert records.vault.fields("smtp") == frozenset()


def test_keys_are_those_of_the_protocol_and_the_protocol_stays(records: Records) -> None:
    add_account(records, "inbox", "POP")
    records.change("account.inbox", {"check_interval": "5"}, {})
    with pytest.raises(InputError, match="no setting sender_name for POP"):
        records.change("account.inbox", {"sender_name": "x"}, {})
    with pytest.raises(InputError, match="is for POP3, and its protocol cannot be changed"):
        records.settings.change("account.inbox", {"protocol": "smtp"})
    with pytest.raises(InputError, match="no setting 'protocol'"):
        records.settings.change("smtp", {"protocol": "smtp"})
    with pytest.raises(InputError, match=r"no record 'account\.other'"):
        records.settings.change("account.other", {"server": "mail.example.com"})


@pytest.mark.parametrize("name", ["", "Office", "a b", "ä", "a.b", "-a", "a" * 41, "../x", "account."])
def test_names_that_no_account_has(records: Records, name: str) -> None:
    with pytest.raises(InputError, match="lower-case letters, digits"):
        add_account(records, name, "SMTP")
    assert not records.settings.path.exists()


def test_the_name_may_be_given_as_the_id() -> None:
    assert account_record("account.office") == account_record("office") == "account.office"


def test_there_are_no_two_accounts_of_one_name(records: Records) -> None:
    add_account(records, "office", "SMTP")
    with pytest.raises(InputError, match="already"):
        add_account(records, "office", "POP")
    with pytest.raises(InputError, match=r"no account account\.offise. The accounts are: account\.office"):
        find_account(records, "offise")


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('[records."account.Office"]', "lower-case letters"),
        ("[records.account.office]\nserver = 'x.example'", "with quotation marks"),
        ('[records."account.office"]\nprotocol = "imap"', "smtp or pop3"),
        ('[records."account.office"]\nprotocol = "smtp"\ncheck_interval = 5', "check_interval"),
        ("[records.smtp]\nprotocol = 'smtp'", "protocol"),
    ],
)
def test_faults_in_the_file_are_named_with_their_lines(records: Records, table: str, fault: str) -> None:
    records.settings.path.parent.mkdir()
    records.settings.path.write_text(f"# by hand\n{table}\n")
    with pytest.raises(InputError, match=fault) as caught:
        records.settings.load()
    assert f"{records.settings.path}:" in str(caught.value)


def test_a_table_by_hand_without_a_protocol_sends(records: Records) -> None:
    records.settings.path.parent.mkdir()
    records.settings.path.write_text('[records."account.office"]\nserver = "mail.example.com"\n')
    assert records.settings.slots().find("account.office").protocol == "SMTP"


def test_slots_are_found_while_the_file_is_broken_and_accounts_are_not(records: Records) -> None:
    records.settings.path.parent.mkdir()
    records.settings.path.write_text("broken")
    directory = records.settings.slots()
    assert directory.find("fax.pop").record == "fax-pop"
    with pytest.raises(InputError, match="not TOML"):
        directory.find("account.office")
    with pytest.raises(InputError, match="There is no slot"):
        SlotDirectory().find("account.office")


async def test_pop_before_smtp_by_an_account(records: Records) -> None:
    add_account(records, "inbox", "POP")
    add_account(records, "office", "SMTP")
    records.change("account.inbox", SET_UP, {})
    sends = {"server": "mail.example.com", "sender_address": "office@example.com"}
    with pytest.raises(InputError, match="is for SMTP; here one for POP3 is needed"):
        records.change("account.office", {"pop_slot": "account.office"}, {})
    by_pop = {**sends, "authentication": "pop_before_smtp", "pop_slot": "account.inbox"}
    records.change("account.office", by_pop, {})
    async with Connector(records) as connector:
        profile = await connector.profile("account.office")
        assert profile.pop_profile is not None
        assert profile.pop_profile.record == "account.inbox"
    with pytest.raises(InputError, match=r"POP before SMTP by account\.office"):
        await remove_account(records, find_account(records, "inbox"))


async def test_all_of_an_account_goes_with_it_and_comments_stay(records: Records) -> None:
    add_account(records, "office", "SMTP")
    add_account(records, "inbox", "POP")
    by_hand = text(records).replace('[records."account.inbox"]', '# about the inbox\n[records."account.inbox"]')
    records.settings.path.write_text(f"# the head\n{by_hand}")
    records.change("account.office", SET_UP | {"authentication": "password"}, {"password": Secret("geheim")})
    await records.tokens.store("account.office").save(Grant("device", Secret("t"), None, None, (), 0.0, 0.0))
    assert await remove_account(records, find_account(records, "office"))
    assert "account.office" not in records.settings.load()
    assert records.vault.fields("account.office") == frozenset()
    assert (
        text(records)
        == '# the head\n\n# about the inbox\n[records."account.inbox"]\nprotocol = "pop3"\ncheck_interval = 5\n'
    )
    assert await remove_account(records, find_account(records, "inbox")) == ""


def test_export_and_import_carry_accounts_over(records: Records, tmp_path: Path) -> None:
    add_account(records, "office", "SMTP")
    add_account(records, "inbox", "POP")
    records.change("account.office", SET_UP | {"authentication": "password"}, {"password": Secret("geheim")})
    exported = export_settings(records.settings.current())
    assert "geheim" not in exported
    other = Records(tmp_path / "other")
    apply_import(other, plan_import(other, exported, "export.toml"))
    assert other.settings.load() == records.settings.load()
    assert not plan_import(other, exported, "export.toml").changes
    assert other.vault.fields("account.office") == frozenset()
    moved = exported.replace("mail.example.com", "evil.example")
    assert plan_import(records, moved, "export.toml").dropped == {"account.office": ("password",)}
    third = Records(tmp_path / "third")
    add_account(third, "inbox", "SMTP")
    with pytest.raises(InputError, match="is for SMTP, and its protocol cannot be changed"):
        plan_import(third, exported, "export.toml")
    without = export_settings(records.settings.current(), ["account.office"])
    assert "account.office" not in without.partition("[records")[2]

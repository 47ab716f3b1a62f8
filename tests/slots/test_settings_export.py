"""One device's settings exported, and imported on another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import InputError, Security
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot.slots.settings_document import SettingsFileError
from mailslot.slots.settings_export import export_settings
from mailslot.slots.settings_import import apply_import, plan_import
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def records(tmp_path: Path) -> Records:
    records = Records(tmp_path / "one")
    smtp = {
        "provider": "microsoft365",
        "account": "scan@example.com",
        "sender_name": "Copier",
        "authentication": "oauth2",
        "scopes": "https://outlook.office.com/SMTP.Send offline_access",
    }
    # By hand, since it is on another device.
    records.settings.change("smtp", {"ca_file": "/etc/ca.pem"})
    records.change("smtp", smtp, {"password": Secret("geheim-1"), "client_secret": Secret("geheim-2")})
    records.change("fax-pop", {"server": "pop.example.com", "check_interval": "5", "security": "tls"}, {})
    webhook = "https://hooks.example/geheim-3"
    records.settings.change_section(DEVICE, {"name": "Copier", "serial_number": "77", "webhook": webhook})
    return records


@pytest.fixture
def other(tmp_path: Path) -> Records:
    return Records(tmp_path / "other")


def taken(records: Records, text: str) -> list[str]:
    """Take an export over, and return what that changed, a line each."""
    plan = plan_import(records, text, "e.toml")
    apply_import(records, plan)
    return [*map(str, plan.changes), *plan.dropped_notes, *plan.notes]


def exported(records: Records, *without: str) -> str:
    return export_settings(records.settings.current(), without)


def test_export_and_import(records: Records, other: Records) -> None:
    text = exported(records)
    assert "geheim" not in text
    output = taken(other, text)
    assert "[records.smtp] provider: not set → microsoft365" in output
    assert other.settings.load() == records.settings.load()
    device = records.settings.section(DEVICE)
    assert other.settings.section(DEVICE) == device | {"webhook": None}
    assert taken(other, text) == []
    assert export_settings(other.settings.current()) == text


def test_omitted_keys_are_kept_at_the_target(records: Records, other: Records) -> None:
    other.settings.change("smtp", {"account": "mine@example.com", "sender_name": "Mine", "port": "25"})
    other.settings.change_section(DEVICE, {"name": "Mine", "webhook": "https://mine.example/"})
    text = exported(records, "account", "sender_address", "device", "serial_number")
    assert "scan@" not in text
    assert "77" not in text
    output = taken(other, text)
    assert "[records.smtp] port: 25 → not set" in output
    smtp = other.settings.load()["smtp"]
    assert (smtp.account, smtp.sender_name, smtp.port) == ("mine@example.com", "Copier", None)
    device = other.settings.section(DEVICE)
    assert (device["name"], device["webhook"]) == ("Mine", "https://mine.example/")


def test_missing_tables_are_kept(records: Records, other: Records) -> None:
    other.settings.change("status-pop", {"server": "status.example"})
    other.settings.change("smtp", {"timeout": "5", "security": "none"})
    taken(other, "[mailslot]\nexport = 1\n[records.smtp]\nport = 2525\n")
    found = other.settings.load()
    assert found["status-pop"].server == "status.example"
    assert (found["smtp"].port, found["smtp"].timeout, found["smtp"].security) == (2525, 30, None)


def test_comments_are_kept(records: Records, other: Records) -> None:
    other.settings.path.parent.mkdir()
    other.settings.path.write_text("# mine\n[records.smtp] # too\nport = 25 # and this\n")
    taken(other, "[mailslot]\nexport = 1\n[records.smtp]\nport = 2525\n")
    assert other.settings.path.read_text() == "# mine\n[records.smtp] # too\nport = 2525 # and this\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an export"),
        ("[records.smtp]\nport = 25\n", "not an export"),
        ("mailslot = 1\n", "not an export"),
        ("[mailslot]\nexport = 2\nfuture = 1\n[records.smtp]\nquantum = 1\n", "its format is 2, and this one knows 1"),
        ("[mailslot]\nexport = '1'\n", "its format is '1'"),
        ("[mailslot]\nexport = true\n", "its format is true"),
        ("[mailslot]\nexport = 1\nfoo = 1\n", r"e\.toml:3: \[mailslot\] there is no setting 'foo'"),
        ("[mailslot\n", r"e\.toml:1: this is not TOML"),
        ("[mailslot]\nexport = 1\n[records.smtp]\nport = 0\nfoo = 1\n", "has 2 faults"),
        ("[mailslot]\nexport = 1\n[records.smtp]\nport = 25\npassword = 'geheim'\n", "secrets never stand here"),
        (
            (
                "[mailslot]\nexport = 1\n[records.fax-pop]\nport = 25\n[records.smtp]\nauthentication='oauth2'\n"
                "security='none'\n"
            ),
            "need encryption",
        ),
    ],
)
def test_an_invalid_import_changes_nothing(other: Records, text: str, says: str) -> None:
    other.settings.change("fax-pop", {"port": "995"})
    before = other.settings.path.read_bytes()
    with pytest.raises(SettingsFileError, match=says) as raised:
        taken(other, text)
    assert "geheim" not in str(raised.value)
    assert other.settings.path.read_bytes() == before


def test_a_file_from_windows(other: Records) -> None:
    taken(other, "\ufeff[mailslot]\r\nexport = 1\r\n[records.smtp]\r\nport = 26\r\n")
    assert other.settings.load()["smtp"].port == 26


def test_names_to_leave_out_are_checked(records: Records) -> None:
    with pytest.raises(InputError, match=r"'acount' to leave out\. Did you mean account\?"):
        exported(records, "acount")
    assert "[records.fax-pop]" not in exported(records, "records.fax-pop")


def test_unset_keys_may_be_omitted(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.change("smtp", {"account": "scan@example.com"}, {})
    assert "scan@" not in exported(records, "account", "sender_address", "device", "serial_number", "records.fax-pop")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "server": st.sampled_from(["mail.example.com", "2001:db8::1", "münchen.example"]),
            "port": st.integers(1, 65535),
            "security": st.sampled_from(Security).map(lambda security: security.value),
            "timeout": st.integers(1, 600),
            "sender_name": st.text(min_size=1).filter(lambda text: text.isprintable() and bool(text.strip())),
            "account": st.sampled_from(["a@example.com", 'o"neil\\x']),
            "scopes": st.lists(st.sampled_from(["a", "https://x/y"]), min_size=1),
            "ca_file": st.just("/a b/c.pem"),
        },
    )
)
def test_round_trip_of_everything(tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]) -> None:
    source, target = (Records(tmp_path_factory.mktemp("home")) for _ in range(2))
    source.settings.change("smtp", values)
    taken(target, export_settings(source.settings.current()))
    assert target.settings.load() == source.settings.load()

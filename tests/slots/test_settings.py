"""Settings in ``mailslot.toml``: accepted and refused values, and what a change keeps."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailslot import InputError, Security
from mailslot.slots.records import Records
from mailslot.slots.settings import KEYS, Settings
from mailslot.slots.settings_file import SettingsFile
from mailslot.slots.slot import PROTOCOLS, SLOTS, SlotDirectory, slots_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> SettingsFile:
    return SettingsFile(tmp_path / "home")


def write(settings: SettingsFile, text: str) -> None:
    settings.path.parent.mkdir(exist_ok=True)
    settings.path.write_text(text, encoding="utf-8")


def test_seven_slots_five_records() -> None:
    assert [(slot.id, slot.protocol, slot.record) for slot in SLOTS] == [
        ("network.smtp", "SMTP", "smtp"),
        ("network.quick", "SMTP", "smtp"),
        ("install.quick", "SMTP", "smtp"),
        ("alert.smtp", "SMTP", "alert-smtp"),
        ("fax.pop", "POP", "fax-pop"),
        ("print.pop", "POP", "print-pop"),
        ("status.pop", "POP", "status-pop"),
    ]
    assert len(PROTOCOLS) == 5
    assert [slot.id for slot in slots_of("smtp")] == ["network.smtp", "network.quick", "install.quick"]


def test_unknown_slot_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"Did you mean fax\.pop"):
        SlotDirectory().find("fax.pip")


def test_defaults_are_unset(settings: SettingsFile) -> None:
    assert settings.load() == dict.fromkeys(PROTOCOLS, Settings())
    assert not settings.path.exists()


def test_change_keeps_comments_and_order(settings: SettingsFile) -> None:
    write(
        settings,
        "# by hand\n[records.fax-pop]\nport = 995 # the usual one\n\n"
        "[records.smtp] # shared\nserver = 'mail.example'\n",
    )
    changed = settings.change("smtp", {"port": "587", "security": "STARTTLS", "scopes": "a b", "timeout": 5})
    assert (changed.port, changed.security, changed.scopes, changed.timeout) == (587, Security.STARTTLS, ("a", "b"), 5)
    text = settings.path.read_text(encoding="utf-8")
    assert text.startswith("# by hand\n[records.fax-pop]\nport = 995 # the usual one\n\n[records.smtp] # shared\n")
    assert settings.load()["smtp"] == changed
    assert settings.change("smtp", {"scopes": None}).scopes == ()
    assert stat.S_IMODE(settings.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("record", "key", "value"),
    [
        ("smtp", "port", "0"),
        ("smtp", "port", "65536"),
        ("smtp", "port", True),
        ("smtp", "timeout", "601"),
        ("smtp", "security", "ssl"),
        ("smtp", "server", "https://mail.example"),
        ("smtp", "server", "a\nb"),
        ("smtp", "sender_address", "a@b\r\nRCPT"),
        ("smtp", "issuer", "http://idp.example"),
        ("smtp", "token_endpoint", "ftp://x"),
        ("smtp", "scopes", 'a"b'),
        ("smtp", "check_interval", "5"),
        ("fax-pop", "sender_name", "x"),
        ("fax-pop", "authentication", "kerberos"),
        ("fax-pop", "authentication", "pop_before_smtp"),
        ("smtp", "nonsense", "x"),
        ("smtp", "nonsense", None),
    ],
)
def test_invalid_values_change_nothing(settings: SettingsFile, record: str, key: str, value: object) -> None:
    settings.change(record, {"server": "before.example"})
    before = settings.path.read_bytes()
    with pytest.raises(InputError):
        settings.change(record, {"server": "after.example", key: value})
    assert settings.path.read_bytes() == before


@pytest.mark.parametrize("authentication", ["oauth2", "password"])
def test_no_credentials_without_tls(settings: SettingsFile, authentication: str) -> None:
    settings.change("smtp", {"security": "none"})
    with pytest.raises(InputError, match="need encryption"):
        settings.change("smtp", {"authentication": authentication})


def test_all_errors_of_a_file_are_reported_at_once(settings: SettingsFile) -> None:
    write(settings, "x = 1\n[records.smtp]\nserver = 5\nport = 'abc'\nfoo = 1\n[records.zzz]\n[records.print-pop]\n")
    with pytest.raises(InputError) as faults:
        settings.load()
    assert len(faults.value.detail.splitlines()) == 5
    for word in ("'x'", "server is 5", "'abc'", "'foo'", "records.zzz"):
        assert word in str(faults.value)


@pytest.mark.parametrize("content", [b"[records.smtp\n", b"\xff\xfe", b"records = 3\n", b"[records]\nsmtp = 1\n"])
def test_broken_files_are_unchanged(settings: SettingsFile, content: bytes) -> None:
    settings.path.parent.mkdir()
    settings.path.write_bytes(content)
    with pytest.raises(InputError, match=r"mailslot\.toml"):
        settings.change("smtp", {"port": "25"})
    assert settings.path.read_bytes() == content


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(settings: SettingsFile) -> None:
    settings.path.parent.mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot be written"):
        settings.change("smtp", {"port": "25"})


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(InputError, match="cannot be"):
        SettingsFile(tmp_path / "home").change("smtp", {"port": "25"})


def test_every_setting_describes_its_allowed_values() -> None:
    assert all(key.allowed for key in KEYS.values())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_other_token_sources_need_no_flow(tmp_path: Path) -> None:
    records = Records(tmp_path)
    settings = replace(Settings(), authentication="oauth2", token_source="file /run/token")
    assert await records.tokens.status("smtp", settings, 0.0) == ("Not Retrieved", None)

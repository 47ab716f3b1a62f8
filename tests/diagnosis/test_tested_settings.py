"""Whether the settings have changed since a connection test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnosis.device import Device
from mailslot.diagnosis import tested_settings as tested
from mailslot.slots.records import Records

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_test_depends_on(tmp_path: Path) -> None:
    device = Device(tmp_path / "home")

    def now() -> str:
        return tested.tested_settings(Records(device.home), "smtp")

    device.set("network.smtp", server="mail.example.com", authentication="password", account="a@example.com")
    found = [now()]
    for change in ({"password": "first"}, {"password": "second"}, {"port": 465}):
        device.set("network.smtp", **change)
        found.append(now())
    assert len(set(found)) == 4
    device.set("network.smtp", sender_name="Copier")
    device.set("fax.pop", password="third")
    assert now() == found[-1]
    device.set("network.smtp", authentication="oauth2", provider="google")
    with_token = now()
    device.set("network.smtp", password="fourth")
    assert now() == with_token


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "mailslot.toml").write_text("[records.smtp]\nport = 99999999\n")
    assert tested.tested_settings(Records(tmp_path), "smtp") == ""

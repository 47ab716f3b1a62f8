"""From settings to sessions: read again when they change, one token source for each record, and both servers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from diagnosis.device import SCANNER, Device
from mailslot import InputError, MailError, NetworkError, OAuth, Password, Secret, Security
from mailslot.oauth.grant_source import GrantSource
from mailslot.slots.connection_profile import NotConfiguredError
from mailslot.slots.connector import Connector, open_smtp
from mailslot.slots.maildrop import open_maildrop
from mailslot.slots.records import Records
from mailslot_plugins.sandbox import run_sandbox
from vault.conftest import limit_file_size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot_plugins.sandbox import Sandbox

SMTP, POP = "network.smtp", "fax.pop"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "home")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with run_sandbox() as running:
        yield running


async def test_sessions(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    await device.set_up_slot(POP, sandbox)
    async with Connector(device.records) as connector:
        profile = await connector.profile("smtp")
        assert (profile.record, profile.protocol, profile.timeout) == ("smtp", "SMTP", 10.0)
        assert (profile.endpoint, profile.secondary_endpoint, profile.pop_profile) == (sandbox.smtp, None, None)
        assert isinstance(profile.auth, OAuth)
        assert profile.settings.sender_address == SCANNER
        stages: list[str] = []
        async with open_smtp(profile, on_stage=stages.append) as smtp:
            await smtp.submit(SCANNER, [SCANNER], b"Subject: a\r\n\r\nb\r\n")
        assert stages[0] == "resolve"
        async with open_maildrop(await connector.profile("fax-pop")) as pop:
            assert (await pop.stat())[0] == 1


async def test_equal_settings_share_one_token_source(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    async with Connector(device.records) as connector:
        first = (await connector.profile("smtp")).token_source
        assert (await connector.profile("smtp")).token_source is first
        device.set("install.quick", timeout=2)
        assert (await connector.profile("smtp")).token_source is not first
        second = (await connector.profile("smtp")).token_source
        device.set(SMTP, client_id="another")
        assert (await connector.profile("smtp")).token_source is not second


async def test_a_new_password_is_not_sent_to_the_former_server(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server and password are changed together, and read one after the other."""
    device.set(SMTP, server="old.example.com", port=465, security="tls", sender_address=SCANNER)
    device.set(SMTP, authentication="password", account=SCANNER, password="old")
    other, read = Records(device.home), device.records.vault.read

    def read_after_a_change(record: str, field: str) -> Secret | None:
        monkeypatch.undo()
        other.change("smtp", {"server": "new.example.com"}, {"password": Secret("new")})
        return read(record, field)

    monkeypatch.setattr(device.records.vault, "read", read_after_a_change)
    async with Connector(device.records) as connector:
        profile = await connector.profile("smtp")
    assert profile.endpoint.host == "new.example.com"
    assert isinstance(profile.auth, Password)
    assert profile.auth.password == Secret("new")


async def test_an_unsaved_token_survives_a_change_of_settings(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    async with Connector(device.records) as connector:
        first = (await connector.profile("smtp")).token_source
        assert isinstance(first, GrantSource)
        with limit_file_size(10):
            renewed = await first.token(force=True)
        assert first.save_error is not None
        device.set("install.quick", timeout=2)
        second = (await connector.profile("smtp")).token_source
        assert isinstance(second, GrantSource)
        assert second is not first
        assert (await second.token()).value == renewed.value
        assert second.save_error is None


async def test_a_token_obtained_later_is_used(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, keep=False)
    async with Connector(device.records) as connector:
        profile = await connector.profile("smtp")
        with pytest.raises(MailError) as caught:
            async with open_smtp(profile):
                pass
        assert (caught.value.stage, caught.value.cause) == ("token", "token_not_retrieved")
        await device.store_token(SMTP, sandbox.provider.issue(SCANNER).value.reveal())
        async with open_smtp(await connector.profile("smtp")):
            pass


async def test_manual_edits_are_loaded_and_broken_files_ignored(
    device: Device, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    await device.set_up_slot(SMTP, sandbox)
    path = device.home / "mailslot.toml"
    good = path.read_text()
    async with Connector(Records(device.home)) as connector:
        assert (await connector.profile("smtp")).endpoint == sandbox.smtp
        path.write_text(good.replace('"localhost"', '"127.0.0.1"'))
        assert (await connector.profile("smtp")).endpoint.host == "127.0.0.1"
        path.write_text("nonsense")
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert (await connector.profile("smtp")).endpoint.host == "127.0.0.1"
        assert len([entry for entry in caplog.records if "stay so" in entry.message]) == 1
        assert str(path) in connector.settings_error
        path.write_text(good)
        assert (await connector.profile("smtp")).endpoint == sandbox.smtp
        assert connector.settings_error == ""
    path.write_text("nonsense")
    async with Connector(Records(device.home)) as connector:
        with pytest.raises(InputError) as caught:
            await connector.profile("smtp")
        assert caught.value.cause == "not_configured"


@pytest.mark.parametrize("port", ["closed", "open"])
async def test_the_secondary_server(device: Device, sandbox: Sandbox, port: str) -> None:
    # The name is not found; or the port is closed at the first address and open at the second one.
    first = "mail.invalid" if port == "open" else "127.0.0.3"
    await device.set_up_slot(SMTP, sandbox, server=first, secondary_server="localhost")
    async with Connector(device.records) as connector:
        profile = await connector.profile("smtp")
        async with open_smtp(profile) as smtp:
            await smtp.noop()


async def test_a_refusal_does_not_lead_to_the_secondary_server(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, security="tls", secondary_server="localhost")
    async with Connector(device.records) as connector:
        with pytest.raises(NetworkError) as caught:
            async with open_smtp(await connector.profile("smtp")):
                pass
    assert caught.value.cause == "tls_port_mismatch"
    assert len(sandbox.dialogues) == 1


async def test_if_both_are_unreachable_the_primary_is_reported(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, server="mail.invalid", secondary_server="127.0.0.1", port=1)
    async with Connector(device.records) as connector:
        with pytest.raises(NetworkError) as caught:
            async with open_smtp(await connector.profile("smtp")):
                pass
    assert caught.value.cause == "name_not_found"


async def test_a_failure_in_the_session_does_not_lead_to_the_secondary_server(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, secondary_server="localhost")
    async with Connector(device.records) as connector:
        with pytest.raises(ZeroDivisionError):
            async with open_smtp(await connector.profile("smtp")):
                raise ZeroDivisionError
    assert len(sandbox.dialogues) == 1


async def test_a_password(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, keep=False)
    device.set(SMTP, authentication="password")
    async with Connector(device.records) as connector:
        with pytest.raises(NotConfiguredError) as caught:
            await connector.profile("smtp")
        assert caught.value.missing == "password"
        device.set(SMTP, password="open sesame")
        profile = await connector.profile("smtp")
        assert isinstance(profile.auth, Password)
        assert "open sesame" not in repr(profile)
        async with open_smtp(profile):
            pass


async def test_a_ca_file(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    async with Connector(device.records) as connector:
        first = (await connector.profile("smtp")).ssl_context
        assert (await connector.profile("smtp")).ssl_context is first
        (device.home / "ca.pem").write_text("nothing")
        with pytest.raises(InputError, match="certificate authorities"):
            await connector.profile("smtp")


async def test_a_preset_fills_in_missing_settings(device: Device) -> None:
    device.set(SMTP, provider="microsoft365", authentication="none", account="a@example.com")
    async with Connector(device.records) as connector:
        profile = await connector.profile("smtp")
    assert (profile.endpoint.host, profile.endpoint.port) == ("smtp.office365.com", 587)
    assert profile.endpoint.security is Security.STARTTLS
    assert profile.settings.sender_address == "a@example.com"
    assert profile.provider is not None
    assert profile.provider.id == "microsoft365"
    assert profile.ssl_context is None

"""Obtaining a grant, and deleting and revoking it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailslot.errors import MailError
from mailslot.wire.secret import Secret
from refresh import device as devices
from refresh.device import running
from refresh.service import ScriptedResponse, fingerprint
from vault.conftest import limit_file_size

if TYPE_CHECKING:
    from pathlib import Path

    from refresh.service import Service


async def test_obtaining(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        device.flow.grant = devices.grant(service.begin(), device.clocks.wall)
        obtained = await device.source.obtain(None)
        assert await device.grant() == obtained
        assert obtained.settings
        assert await device.token() == obtained.access_token
        assert device.asked == 0
        # Its age is counted from now, whatever the wall clock does.
        device.clocks.wall += 1e8
        assert await device.token() == obtained.access_token
        device.clocks.pass_by(3000)
        await device.token()
        assert device.asked == 1


async def test_obtaining_without_a_disk(home: Path, service: Service) -> None:
    """The new one is not kept, and what was there still works."""
    async with running(home, service) as device:
        old = await device.sign_in()
        device.flow.grant = devices.grant(("at-other", "rt-other"), device.clocks.wall)
        with limit_file_size(10), pytest.raises(MailError) as caught:
            await device.source.obtain(None)
        assert caught.value.cause == "token_store_unwritable"
        assert await device.token() == old


async def test_obtaining_ends_a_remembered_refusal(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [ScriptedResponse(400, {"error": "invalid_grant"})] * 2
        await device.refuse("token_update_failed")
        device.flow.grant = devices.grant(service.begin(), device.clocks.wall)
        await device.source.obtain(None)
        await device.token()
        assert (await device.grant()).failure is None


async def test_deleting(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        await device.token()
        kept = await device.grant()
        told = await device.source.delete()
        assert told.notified
        assert told.sentence == "The token was revoked at Test."
        assert service.state.revoked == [
            f"refresh_token {fingerprint(kept.refresh_token.reveal())}",
            f"refresh_token {fingerprint(kept.previous_refresh_token.reveal())}",
            f"access_token {fingerprint(kept.access_token.reveal())}",
        ]
        assert await device.store.load() is None
        await device.refuse("token_not_retrieved")
        assert not (await device.source.delete()).notified


async def test_forgetting_is_deleting(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        assert await device.source.forget() is None
        assert await device.store.load() is None
        assert len(service.state.revoked) == 2


async def test_deleting_leaves_other_secrets(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        vault = device.store._vault
        vault.write("smtp", {"client_secret": Secret("x")})
        await device.source.delete()
        assert vault.fields("smtp") == {"client_secret"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (ScriptedResponse(503, {}, {"Retry-After": "60"}), "busy"),
        (ScriptedResponse(400, {"error": "unsupported_token_type"}), "unsupported_token_type"),
        (ScriptedResponse(401, {"error": "invalid_client"}), "application"),
    ],
)
async def test_a_provider_that_refuses_revocation(
    home: Path, service: Service, said: ScriptedResponse, why: str
) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        service.say = [said]
        told = await device.source.delete()
        assert not told.notified
        assert why in told.sentence
        assert await device.store.load() is None


async def test_a_provider_that_revokes_refresh_tokens_only(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        service.say = [ScriptedResponse(200), ScriptedResponse(400, {"error": "unsupported_token_type"})]
        assert (await device.source.delete()).notified


async def test_a_provider_without_a_revocation_endpoint(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        device.client = devices.client(service.url, revocation=False)
        device.restart()
        await device.sign_in()
        told = await device.source.delete()
        assert not told.notified
        assert "Test" in told.sentence
        assert await device.store.load() is None
        assert not service.state.revoked


async def test_an_unreachable_revocation_endpoint(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        provider = device.client.provider
        endpoints = replace(provider.endpoints, revocation="http://127.0.0.1:9/revoke")
        device.client = replace(device.client, provider=replace(provider, endpoints=endpoints))
        device.restart()
        await device.sign_in()
        told = await device.source.delete()
        assert not told.notified
        assert "refuses connections" in told.sentence
        assert await device.store.load() is None


async def test_a_damaged_store_is_deleted_without_the_provider(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        (home / "vault" / "smtp.json").write_bytes(b"damaged")
        told = await device.source.delete()
        assert not told.notified
        assert "damaged" in told.sentence
        assert await device.store.load() is None
        assert not service.state.revoked


async def test_a_disk_that_refuses_deletion(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        old = await device.sign_in()
        device.store._vault.write("smtp", {"password": Secret("x")})
        service.say = [ScriptedResponse(503), ScriptedResponse(503)]
        with limit_file_size(10), pytest.raises(MailError) as caught:
            await device.source.delete()
        assert caught.value.cause == "token_store_unwritable"
        assert await device.token() == old


async def test_a_grant_in_memory_only_is_revoked_too(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        with limit_file_size(10):
            await device.token()
        assert (await device.source.delete()).notified
        assert service.state.revoked[0] == f"refresh_token {service.state.newest}"
        assert await device.store.load() is None
        await device.refuse("token_not_retrieved")
        assert device.source.save_error is None

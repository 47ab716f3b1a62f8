"""A grant is sent only to the service that issued it, also after a change of settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailslot.oauth.endpoint_url import origin_of
from mailslot.oauth.health import TokenSettings, health
from mailslot.oauth.settings_digest import settings_digest
from refresh import device as devices
from refresh.device import ACCOUNT, running
from refresh.service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailslot.oauth.health import Health
    from refresh.device import Device
    from refresh.service import Service


@pytest.fixture
def hostile() -> Iterator[Service]:
    """A service that nothing may reach."""
    with serving() as found:
        yield found
        assert (found.state.asked, found.state.revoked) == (0, [])


def point_to(device: Device, **endpoints: str | None) -> None:
    """Change the settings of the device, as far as they name endpoints."""
    provider = device.client.provider
    changed = replace(provider, endpoints=replace(provider.endpoints, **endpoints))
    device.client = replace(device.client, provider=changed)
    device.restart()


async def state(device: Device) -> Health:
    facts = TokenSettings(ACCOUNT, ("mail.send",), settings_digest(device.client, "browser"))
    return health(await device.grant(), facts, device.client.provider, device.clocks.wall)


async def test_a_grant_is_not_sent_to_another_token_endpoint(home: Path, service: Service, hostile: Service) -> None:
    async with running(home, service) as device:
        device.flow.grant = devices.grant(service.begin(), device.clocks.wall)
        await device.source.obtain(None)
        mine = device.client.provider.endpoints.token
        point_to(device, token=f"{hostile.url}/token")
        # It is said at once, though the access token still works.
        says = f"The token came from {service.url}, and the settings name {hostile.url} now: obtain it again."
        told = await state(device)
        assert (told.state, told.cause, told.sentence) == ("needs_token", "token_for_other_service", says)
        await device.token()
        device.clocks.pass_by(3601)
        for ignore_backoff in (False, True):
            error = await device.refuse("token_for_other_service", ignore_backoff=ignore_backoff)
            assert (str(error), error.retryable) == (says, False)
        # The same host at another address of the provider's own is no other service.
        point_to(device, token=mine + "?tenant=other")
        await device.token()
        assert (await state(device)).state == "ok"


async def test_a_grant_is_not_sent_to_another_issuer(
    home: Path, service: Service, hostile: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        point_to(device, token=f"{hostile.url}/token")
        found = device.client.provider

        async def complete(*_: object) -> object:
            return found

        monkeypatch.setattr("mailslot.oauth.discovery.complete_provider", complete)
        point_to(device, token="", issuer=hostile.url)
        assert (await state(device)).state == "ok"
        await device.refuse("token_for_other_service")
        told = await state(device)
        assert (told.state, told.cause) == ("needs_token", "token_for_other_service")


async def test_a_grant_is_not_sent_to_another_revocation_endpoint(
    home: Path, service: Service, hostile: Service
) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        point_to(device, revocation=f"{hostile.url}/revoke")
        # A refresh under those settings does not make it the grant's own.
        await device.token()
        told = await device.source.delete()
        assert not told.notified
        assert told.sentence.startswith(f"The provider was not told: the token came from {service.url}")
        assert await device.store.load() is None


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://Login.Example:443/a/token?x=1", "https://login.example"),
        ("https://login.example:8443/token", "https://login.example:8443"),
        ("http://[::1]:80/token", "http://[::1]"),
        ("http://127.0.0.1:81/", "http://127.0.0.1:81"),
    ],
)
def test_origins(address: str, origin: str) -> None:
    assert origin_of(address) == origin

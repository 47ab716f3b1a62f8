"""A grant remembers its sign-in (flow, application, tenant, day); a rule against that flow ends it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailslot.oauth.grant import Grant, RefreshFailure
from mailslot.oauth.health import DAY, TokenSettings, health
from mailslot.oauth.presets import preset
from mailslot.oauth.settings_digest import settings_digest
from mailslot.wire.secret import Secret
from refresh import device as devices
from refresh.device import ACCOUNT, running
from refresh.service import ScriptedResponse

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.oauth.health import Health
    from refresh.device import Device
    from refresh.service import Policy, Service

BIRTH = ("flow", "client_id", "tenant", "obtained_at")


def sign_in(grant: Grant) -> tuple[object, ...]:
    return tuple(getattr(grant, name) for name in BIRTH)


def blocked(number: int) -> ScriptedResponse:
    """What Entra says (tests/diagnosis/collection): the same `error` as for a token that it does not know."""
    return ScriptedResponse(
        400,
        {"error": "invalid_grant", "error_codes": [number], "error_description": f"AADSTS{number}: Access blocked."},
    )


async def obtain(device: Device, service: Service, flow: str, tenant: str | None = "contoso.example") -> Grant:
    device.flow.name = flow
    device.flow.grant = replace(devices.grant(service.begin(), device.clocks.wall), flow=flow)
    device.client = replace(device.client, tenant=tenant)
    device.restart()
    return await device.source.obtain(None)


async def state(device: Device) -> Health:
    grant = await device.grant()
    facts = TokenSettings(ACCOUNT, ("mail.send",), settings_digest(device.client, grant.flow))
    return health(grant, facts, device.client.provider, device.clocks.wall)


@pytest.mark.parametrize("policy", ["strict", "lax", "fixed"])
async def test_the_sign_in_is_kept_through_every_refresh(home: Path, service: Service, policy: Policy) -> None:
    async with running(home, service) as device:
        service.policy = policy
        obtained = await obtain(device, service, "device")
        born = ("device", "printer", "contoso.example", device.clocks.wall)
        assert sign_in(obtained) == born
        for _ in range(3):
            device.clocks.pass_by(3601)
            device.restart()
            await device.token()
        assert device.asked == 3
        kept = await device.grant()
        assert sign_in(kept) == born
        told = await state(device)
        assert (told.flow, told.client_id, told.tenant, told.obtained_at) == born


async def test_a_flow_that_forgets_the_sign_in(home: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's flow may return a grant of its own making; what the provider remembers counts."""
    async with running(home, service) as device:
        obtained = await obtain(device, service, "device")
        device.clocks.pass_by(3601)
        refresh = devices.SignedInFlow.refresh

        async def forgetful(flow: devices.SignedInFlow, *arguments: object) -> Grant:
            new = await refresh(flow, *arguments)
            return replace(new, flow="own", obtained_at=device.clocks.wall, client_id=None, tenant=None)

        monkeypatch.setattr(devices.SignedInFlow, "refresh", forgetful)
        await device.token()
        assert sign_in(await device.grant()) == sign_in(obtained)


async def test_a_tenant_that_stands_for_any_is_not_kept(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        provider = device.client.provider
        quirks = replace(provider.quirks, shared_tenants=("organizations",))
        device.client = replace(device.client, provider=replace(provider, quirks=quirks))
        assert (await obtain(device, service, "device", "organizations")).tenant is None
        # The user's own, as the provider told it, counts before the one that was asked.
        device.flow.grant = replace(device.flow.grant, tenant="f00d")
        assert (await device.source.obtain(None)).tenant == "f00d"


async def test_a_grant_from_before_the_application_was_kept(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        obtained = await obtain(device, service, "device", None)
        values = json.loads(obtained.to_secret().reveal())
        del values["client_id"]
        old = Grant.from_secret(Secret(json.dumps(values)))
        assert (old.flow, old.client_id, old.obtained_at) == ("device", None, obtained.obtained_at)
        await device.store.save(old)
        device.clocks.pass_by(3601)
        # Refresh tokens are bound to the application: the one that refreshes it is the one that it was given to.
        await device.token()
        assert sign_in(await device.grant()) == ("device", "printer", None, obtained.obtained_at)


@pytest.mark.parametrize("number", [530035, 530036, 53003])
async def test_a_rule_against_device_codes_ends_what_began_with_one(home: Path, service: Service, number: int) -> None:
    async with running(home, service) as device:
        await obtain(device, service, "device")
        device.clocks.pass_by(3601)
        service.say = [blocked(number)]
        await device.refuse("device_code_blocked")
        # The provider knows the token and has decided: it is not asked twice, and no token is dropped.
        assert device.asked == 1
        assert (await device.grant()).refresh_token is not None
        told = await state(device)
        assert (told.state, told.cause) == ("needs_token", "device_code_blocked")
        assert told.blocked_flows == {"device"}
        # A sign-in by another flow, and all is well.
        await obtain(device, service, "browser")
        device.clocks.pass_by(3601)
        await device.token()
        told = await state(device)
        assert (told.state, told.cause, told.blocked_flows) == ("ok", None, frozenset())


@pytest.mark.parametrize("number", [530035, 530036, 53003])
async def test_the_same_codes_for_another_flow_are_the_administrators(
    home: Path, service: Service, number: int
) -> None:
    async with running(home, service) as device:
        await obtain(device, service, "browser")
        device.clocks.pass_by(3601)
        service.say = [blocked(number)]
        await device.refuse("sign_in_blocked_by_policy")
        told = await state(device)
        assert (told.state, told.cause) == ("needs_administrator", "sign_in_blocked_by_policy")
        assert told.blocked_flows == frozenset()


NOW = 1_800_000_000.0
BY_CODE = replace(devices.grant(("a", "r"), NOW, age=20 * DAY, lifetime=21 * DAY), flow="device")


@pytest.mark.parametrize("provider", ["microsoft365", "microsoft365-us", "microsoft365-china"])
def test_a_grant_that_would_die_is_told_before(provider: str) -> None:
    told = health(BY_CODE, TokenSettings(ACCOUNT), preset(provider), NOW)
    assert (told.state, told.cause, told.flow_can_be_blocked) == ("ok", None, True)
    assert told.topics == ("blockable_flow",)
    assert "device code" in told.notes[0]
    assert "browser" in told.notes[0]


@pytest.mark.parametrize(
    ("provider", "flow"), [("microsoft365", "browser"), ("microsoft365", "app"), ("outlook", "device")]
)
def test_a_grant_that_no_rule_ends(provider: str, flow: str) -> None:
    told = health(replace(BY_CODE, flow=flow), TokenSettings(ACCOUNT), preset(provider), NOW)
    assert (told.flow_can_be_blocked, told.topics) == (False, ())


def test_a_grant_that_is_blocked_is_not_warned_of_as_well() -> None:
    dead = BY_CODE.with_failure(RefreshFailure("device_code_blocked", "It is blocked.", "", NOW, None))
    told = health(dead, TokenSettings(ACCOUNT), preset("microsoft365"), NOW)
    assert (told.cause, told.topics, told.flow_can_be_blocked) == ("device_code_blocked", (), True)

"""Failures of the provider or the connection: distinguished, stored, and not aggravated by requests."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.oauth import grant_source
from mailslot.oauth.origin import bind_origin
from refresh import device as devices
from refresh.device import SignedInFlow, running
from refresh.service import ScriptedResponse

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from refresh.service import Policy, Service

GONE = ScriptedResponse(400, {"error": "invalid_grant"})


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (GONE, "token_update_failed"),
        (ScriptedResponse(400, {"error": "interaction_required", "error_codes": [50076]}), "token_update_failed"),
        (ScriptedResponse(401, {"error": "invalid_client"}), "app_secret_invalid"),
        (ScriptedResponse(401, {"error": "invalid_client", "error_codes": [7000222]}), "app_secret_expired"),
        (ScriptedResponse(400, {"error": "unauthorized_client"}), "app_type_wrong"),
        (ScriptedResponse(400, {"error": "invalid_scope"}), "scope_wrong"),
        (ScriptedResponse(400, {"error": "invalid_grant", "error_codes": [65001]}), "consent_missing"),
        (ScriptedResponse(400, {"error": "what_nobody_knows"}), "unknown"),
        (ScriptedResponse(400, {"error": {"a": []}}), "unknown"),
        (ScriptedResponse(418, {}), "unknown"),
    ],
)
async def test_a_refusal_is_remembered(home: Path, service: Service, said: ScriptedResponse, cause: str) -> None:
    """Over processes, for an hour or until there is a new grant; nobody hammers, and no token is dropped."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        before = await device.grant()
        service.say = [said] * 100
        error = await device.refuse(cause)
        assert not error.retryable
        asked = device.asked
        assert asked <= 2
        for _ in range(3):
            device.clocks.pass_by(1000)
            again = await device.refuse(cause)
            assert str(again) == str(error)
            await device.refuse(cause, force=True)
            device.restart()
        assert device.asked == asked
        kept = await device.grant()
        assert (kept.refresh_token, kept.access_token) == (before.refresh_token, before.access_token)
        assert kept.failure is not None
        assert kept.failure.retry_at is None

        service.say = []
        await device.sign_in(age=7200)
        await device.token()


async def test_a_token_is_used_while_it_lasts(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        old = await device.sign_in(age=3100)
        service.say = [GONE, GONE]
        assert await device.token() == old
        assert await device.token() == old
        assert device.asked == 2
        await device.refuse("token_update_failed", force=True)
        device.clocks.pass_by(494)
        assert await device.token() == old
        device.clocks.pass_by(2)
        await device.refuse("token_update_failed")
        assert device.asked == 2


async def test_changed_settings_cause_a_retry(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        service.secret = "the application's secret"
        device.client = devices.client(service.url, secret="a wrong one")
        device.restart()
        await device.sign_in(age=7200)
        await device.refuse("app_secret_invalid")
        await device.refuse("app_secret_invalid")
        assert device.asked == 1
        device.client = devices.client(service.url, secret=service.secret)
        device.restart()
        await device.token()
        assert device.asked == 2


@pytest.mark.parametrize("field", ["client_id", "tenant", "account", "scopes", "provider"])
async def test_every_setting_causes_a_retry(home: Path, service: Service, field: str) -> None:
    async with running(home, service) as device:
        provider = device.client.provider
        other = {
            "client_id": "other",
            "tenant": "other",
            "account": "other@example.com",
            "scopes": ("mail.pop",),
            "provider": replace(provider, endpoints=replace(provider.endpoints, token=f"{service.url}/token?a")),
        }[field]
        await device.sign_in(age=7200)
        service.say = [GONE, GONE]
        await device.refuse("token_update_failed")
        device.client = replace(device.client, **{field: other})
        device.restart()
        await device.token()


async def test_a_person_forces_a_retry(home: Path, service: Service) -> None:
    """Say after an administrator has unlocked the account: once, not for ever."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [GONE, GONE, GONE]
        await device.refuse("token_update_failed")
        await device.refuse("token_update_failed", ignore_backoff=True)
        await device.refuse("token_update_failed")
        assert device.asked == 3
        await device.token(ignore_backoff=True)
        assert (await device.grant()).failure is None


async def test_retry_after_is_respected(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [ScriptedResponse(429, {"error": "slow_down"}, {"Retry-After": "300"})]
        error = await device.refuse("token_service_busy")
        assert error.retryable
        device.clocks.pass_by(299)
        assert (await device.refuse("token_service_busy")).retryable
        device.restart()
        await device.refuse("token_service_busy")
        assert device.asked == 1
        device.clocks.pass_by(2)
        await device.token()
        assert device.asked == 2


async def test_a_jump_of_the_wall_clock_does_not_change_the_backoff(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [ScriptedResponse(503, {}, {"Retry-After": "300"})]
        await device.refuse("token_service_busy")
        device.clocks.wall += 1e9
        await device.refuse("token_service_busy")
        device.clocks.wall -= 2e9
        await device.refuse("token_service_busy")
        assert device.asked == 1
        # Another process cannot know; it asks once more than it had to, and never waits for ever.
        device.restart()
        await device.token()
        assert device.asked == 2


async def test_backoff_grows_to_a_limit(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        asked_at: list[float] = []
        for _ in range(20_000):
            service.say = [ScriptedResponse(429, {})]
            asked = device.asked
            await device.refuse("token_service_busy")
            if device.asked > asked:
                asked_at.append(device.clocks.monotonic)
            device.clocks.pass_by(5)
            if len(asked_at) == 12:
                break
        pauses = [after - before for before, after in itertools.pairwise(asked_at)]
        assert pauses[0] <= 15
        assert pauses == sorted(pauses)
        assert pauses[3] >= 70
        assert 595 <= max(pauses) <= 605
        assert pauses[-1] == pauses[-2]
        service.say = []
        device.clocks.pass_by(600)
        await device.token()
        assert (await device.grant()).failure is None


async def test_an_unreachable_service(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        good = device.client
        nowhere = replace(good.provider, endpoints=replace(good.provider.endpoints, token="http://127.0.0.1:9/token"))
        device.client = replace(good, provider=nowhere)
        device.restart()
        old = await device.sign_in(age=3300)
        assert await device.token() == old
        device.clocks.pass_by(301)
        error = await device.refuse("token_service_unreachable")
        assert error.retryable
        assert (await device.refuse("token_service_unreachable", force=True)).retryable
        # It was there all along, and is reached again.
        await device.store.save(bind_origin(await device.grant(), good))
        device.client = good
        device.restart()
        await device.token()


async def test_a_captive_portal(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [ScriptedResponse(302, {}, {"Location": "http://portal.example/"})]
        assert (await device.refuse("token_service_unreachable")).retryable
        device.clocks.pass_by(20)
        await device.token()


@pytest.mark.parametrize(("lost", "asked", "works"), [(1, 2, True), (2, 3, True), (3, 3, False), (9, 3, False)])
@pytest.mark.parametrize("policy", ["lax", "fixed"])
async def test_a_lost_response(
    home: Path, service: Service, lost: int, asked: int, works: bool, policy: Policy
) -> None:
    """The same refresh token is used at most twice more; later tries go on where this one ended."""
    async with running(home, service) as device:
        service.policy = policy
        service.lose = lost
        await device.sign_in(age=7200)
        if works:
            await device.token()
        else:
            assert (await device.refuse("token_service_unreachable")).retryable
        assert device.asked == asked
        service.lose = 0
        device.clocks.pass_by(20)
        await device.token()
        assert (await device.grant()).failure is None


async def test_a_lost_response_of_a_strict_provider(home: Path, service: Service) -> None:
    """What cannot be helped: it is told, the refresh token is kept, and nobody hammers."""
    async with running(home, service) as device:
        service.lose = 1
        old = await device.sign_in(age=3300)
        kept = (await device.grant()).refresh_token
        given = await device.source.token()
        assert given.value == old
        assert (device.asked, service.state.dead) == (3, True)
        device.clocks.pass_by(301)
        await device.refuse("token_update_failed")
        assert device.asked == 3
        assert (await device.grant()).refresh_token == kept


async def test_a_server_error_after_acting(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        service.policy = "lax"
        await device.sign_in(age=7200)
        service.say = [ScriptedResponse(502, {}), ScriptedResponse(500, {"error": "server_error"})]
        await device.token()
        assert device.asked == 3


async def test_lost_responses_are_not_retried_after_a_minute(home: Path, service: Service) -> None:
    async with running(home, service) as device:

        class Slow(SignedInFlow):
            async def refresh(self, client: OAuthClient, http: TokenHttp, grant: Grant) -> Grant:
                device.clocks.pass_by(45)
                return await super().refresh(client, http, grant)

        device.flow = Slow()
        device.restart()
        service.policy, service.lose = "lax", 9
        await device.sign_in(age=7200)
        await device.refuse("token_service_unreachable")
        assert device.asked == 2


async def test_a_slow_response(home: Path, service: Service) -> None:
    async with running(home, service, timeout=300) as device:
        service.slow = 0.4
        await device.sign_in(age=7200)
        await device.token()
        assert device.asked == 1


async def test_a_response_after_the_timeout(home: Path, service: Service) -> None:
    async with running(home, service, timeout=2) as device:
        service.policy, service.slow = "lax", 300
        await device.sign_in(age=7200)
        error = await device.refuse("token_service_unreachable")
        assert error.retryable
        assert device.asked == 3
    service.slow = 0.0
    device.clocks.pass_by(20)
    async with running(home, service, device.clocks) as device:
        await device.token()


async def test_a_flow_that_never_ends(home: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can cancel a refresh, so it has an end of its own; the next one can begin then."""
    monkeypatch.setattr(grant_source, "_ATTEMPT_TIMEOUT", 0.05)
    async with running(home, service) as device:

        class Endless(SignedInFlow):
            async def refresh(self, client: OAuthClient, http: TokenHttp, grant: Grant) -> Grant:
                await anyio.sleep_forever()

        device.flow = Endless()
        device.restart()
        await device.sign_in(age=7200)
        with anyio.fail_after(120):
            assert (await device.refuse("token_service_unreachable")).retryable
            monkeypatch.undo()
            device.flow = SignedInFlow()
            device.restart()
            device.clocks.pass_by(20)
            await device.token()


async def test_unusable_settings(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        provider = device.client.provider
        endpoints = replace(provider.endpoints, token="http://elsewhere.example/token")
        device.client = replace(device.client, provider=replace(provider, endpoints=endpoints))
        device.restart()
        old = await device.sign_in(age=3300)
        assert await device.token() == old
        error = await device.refuse("invalid_input", force=True)
        assert "https" in str(error)
        assert (await device.grant()).failure is None

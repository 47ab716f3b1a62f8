"""A provider that does not know the refresh token is asked once more, then once an hour, for some days."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.oauth.health import TokenSettings, health
from mailslot.oauth.refresh_backoff import MAX_REFUSALS
from refresh.device import ACCOUNT, running
from refresh.service import ScriptedResponse

if TYPE_CHECKING:
    from pathlib import Path

    from refresh.service import Policy, Service

GONE = ScriptedResponse(400, {"error": "invalid_grant"})


@pytest.mark.parametrize("policy", ["strict", "lax", "fixed"])
async def test_a_single_unexpected_refusal_is_not_final(home: Path, service: Service, policy: Policy) -> None:
    async with running(home, service) as device:
        service.policy = policy
        await device.sign_in(age=7200)
        await device.token()
        device.clocks.pass_by(3601)
        service.say = [GONE]
        await device.token()
        assert device.asked == 3
        assert device.clocks.slept == [5.0]
        assert (service.state.reused, service.state.dead) == (0, False)
        assert (await device.grant()).failure is None


async def test_a_single_unexpected_refusal_does_not_use_the_previous_refresh_token(
    home: Path, service: Service
) -> None:
    """A strict provider would end the grant for it."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        await device.token()
        for _ in range(5):
            device.clocks.pass_by(3601)
            service.say = [GONE]
            await device.token()
        assert (service.state.reused, service.state.dead) == (0, False)


async def test_eight_processes_confirm_a_refusal_with_one_request(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [GONE]
        tokens = {(await device.another().token()).value.reveal() for _ in range(8)}
        assert len(tokens) == 1
        assert device.asked == 2
        device.clocks.pass_by(3601)
        service.say = [GONE] * 3
        for _ in range(8):
            await device.refuse("token_update_failed")
            device.restart()
        assert device.asked == 2 + 3  # twice for the newest refresh token, once for the one before


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_dead_grant_is_retried_once_an_hour(home: Path, service: Service) -> None:
    """A request for a token retries; a provider that has recovered gives one without a person at the device."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [GONE] * 1000
        await device.refuse("token_update_failed")
        before = device.asked
        for minute in range(6 * 60):
            device.clocks.pass_by(60)
            await device.refuse("token_update_failed", force=bool(minute % 2))
            if minute % 7 == 0:
                device.restart()
        assert 5 <= device.asked - before <= 7
        assert len(device.clocks.slept) == 1  # it is known to be no mistake
        service.say = []
        device.clocks.pass_by(3600)
        await device.token()
        assert (await device.grant()).failure is None
        assert not service.state.dead


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (GONE, "token_update_failed"),
        (ScriptedResponse(401, {"error": "invalid_client"}), "app_secret_invalid"),
        (ScriptedResponse(400, {"error": "invalid_grant", "error_codes": [65001]}), "consent_missing"),
    ],
)
async def test_retries_of_a_dead_grant_end(
    home: Path, service: Service, said: ScriptedResponse, cause: str, restart: bool
) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [said] * 1000
        for _ in range(MAX_REFUSALS + 10):
            await device.refuse(cause)
            device.clocks.pass_by(3600)
            if restart:
                device.restart()
        assert MAX_REFUSALS <= device.asked <= MAX_REFUSALS + 2
        service.say = []
        await device.token(ignore_backoff=True)


async def test_setting_the_clock_back_causes_no_retry(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [GONE] * 10
        await device.refuse("token_update_failed")
        for _ in range(20):
            device.clocks.wall -= 5000
            device.restart()
            await device.refuse("token_update_failed", force=True)
        assert device.asked == 2


async def test_an_unreachable_service_during_the_confirmation(home: Path, service: Service) -> None:
    """It is not counted as a refusal, and makes none of those before undone."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [GONE, ScriptedResponse(429, {})]
        error = await device.refuse("token_service_busy")
        assert error.retryable
        kept = (await device.grant()).failure
        assert kept is not None
        assert (kept.refusals, kept.unconfirmed) == (1, False)
        device.clocks.pass_by(20)
        await device.token()


async def test_the_error_while_a_refusal_is_unconfirmed(home: Path, service: Service) -> None:
    """A service that is stopped between both leaves no panel behind that calls for a new token."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [GONE]

        class StoppedError(BaseException):
            pass

        async def stop(_: float) -> None:
            raise StoppedError

        device.clocks.sleep = stop
        device.restart()
        with pytest.raises(BaseException) as caught:
            await device.source.token()
        assert "StoppedError" in repr(caught.value)
        told = health(await device.grant(), TokenSettings(ACCOUNT), device.client.provider, device.clocks.wall)
        assert (told.state, told.cause) == ("expiring", "token_service_busy")
        assert "once more" in told.sentence
        del device.clocks.sleep
        device.restart()
        await device.token()


async def test_failures_stored_without_a_count(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [GONE] * 2
        await device.refuse("token_update_failed")
        vault = device.store._vault
        kept = vault.read("smtp", "grant").reveal()
        for field in (', "refusals": 2', ', "unconfirmed": false'):
            assert field in kept
            kept = kept.replace(field, "")
        vault.write("smtp", {"grant": type(vault.read("smtp", "grant"))(kept)})
        device.restart()
        await device.refuse("token_update_failed")
        device.clocks.pass_by(3601)
        await device.token()

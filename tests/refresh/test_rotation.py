"""A response without a usable access token but with a new refresh token: that one is stored, and used from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from refresh.device import running
from refresh.service import fingerprint
from vault.conftest import limit_file_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from refresh.service import Policy, Service

USELESS = [
    {"access_token": 12345},
    {"access_token": None},
    {"access_token": ""},
    {"access_token": ["x"]},
    {"access_token": "at-x\n"},
    {"access_token": "at x"},
    {"access_token": "at-é"},
    {"access_token": "a" * 60_000},
    {"access_token": None, "token_type": None},
    {"token_type": "mac"},
    {"token_type": 7},
]


@pytest.mark.parametrize("policy", ["strict", "lax", "fixed"])
@pytest.mark.parametrize("useless", USELESS, ids=lambda members: str(members)[:40])
async def test_the_new_refresh_token_is_kept(
    home: Path, service: Service, policy: Policy, useless: dict[str, object]
) -> None:
    async with running(home, service) as device:
        service.policy, service.instead = policy, [useless]
        await device.sign_in(age=7200)
        await device.token()
        assert device.refreshes == 2
        assert (service.state.reused, service.state.dead) == (0, False)
        kept = await device.grant()
        assert fingerprint(kept.refresh_token.reveal()) == service.state.newest
        assert kept.failure is None


async def test_a_service_that_never_gives_a_usable_token(home: Path, service: Service) -> None:
    """The fault is told and tried again, later and later; the newest refresh token is on the disk each time."""
    async with running(home, service) as device:
        old = await device.sign_in(age=3300)
        service.instead = [{"access_token": 12345}] * 1000
        assert await device.token() == old
        assert device.asked == 3
        device.clocks.pass_by(301)
        for _ in range(20):
            error = await device.refuse("unknown")
            assert "its access token is not text" in str(error)
            assert error.retryable
            kept = await device.grant()
            assert fingerprint(kept.refresh_token.reveal()) == service.state.newest
            assert kept.access_token == old
            device.clocks.pass_by(700)
            device.restart()
        assert device.asked <= 3 * 21
        assert (service.state.reused, service.state.dead) == (0, False)
        service.instead = []
        await device.token()


@pytest.mark.parametrize(
    "garble",
    [
        lambda octets: octets[:-1],
        lambda octets: octets[:-1] + b" ",
        lambda octets: octets.replace(b": 3600", b": NaN "),
        lambda octets: octets.replace(b"access", b"acc\xffss"),
        lambda octets: b"[" + octets[1:],
    ],
    ids=["lost before its end", "without its end", "NaN", "no UTF-8", "no object"],
)
async def test_a_response_that_is_not_json(home: Path, service: Service, garble: Callable[[bytes], bytes]) -> None:
    """The new refresh token is in it all the same, and the old one is good for nothing any more."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.garble = [garble]
        await device.token()
        assert (device.refreshes, service.state.reused, service.state.dead) == (2, 0, False)


@pytest.mark.parametrize("left", [10, 60, 100])
async def test_a_response_cut_off_before_the_refresh_token(home: Path, service: Service, left: int) -> None:
    """Nothing can be made out in it; half a token is none."""
    async with running(home, service) as device:
        service.policy, service.garble = "lax", [lambda octets: octets[:left]]
        await device.sign_in(age=7200)
        before = (await device.grant()).refresh_token
        service.say = []
        await device.token()
        assert (await device.grant()).previous_refresh_token == before


async def test_an_error_with_status_200(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.instead = [{"error": "server_error", "access_token": None}]
        await device.refuse("token_service_busy")
        device.clocks.pass_by(20)
        await device.token()
        assert (device.refreshes, service.state.reused, service.state.dead) == (2, 0, False)


async def test_the_sentence_names_the_fault(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.instead = [{"access_token": "a" * 60_000}] * 3
        assert "60,000 characters" in str(await device.refuse("unknown"))


async def test_rotation_on_a_full_disk(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.instead = [{"access_token": 1}] * 3
        with limit_file_size(10):
            await device.refuse("unknown")
            assert device.source.save_error is not None
        device.clocks.pass_by(700)
        await device.token()
        assert device.source.save_error is None
        assert (service.state.reused, service.state.dead) == (0, False)


async def test_a_refused_token_stays_refused(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        old = await device.sign_in()
        await device.token()
        service.instead = [{"access_token": None}]
        assert await device.token(force=True) != old
        assert (service.state.reused, service.state.dead) == (0, False)

"""When a token is refreshed: in time, by the monotonic clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.oauth.timing import Clocks, TokenTiming, timing_of_stored
from refresh.device import FakeClocks, SignedInFlow, grant, running

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from refresh.service import Service

YEAR = 365.25 * 86400
DAY = 86400.0


@pytest.mark.parametrize(
    ("lifetime", "fresh_for"),
    [
        (3600.0, 3600 - 660),  # ten minutes and half the jitter
        (86400.0, 86400 - 660),
        (900.0, 675),  # a quarter
        (20.0, 15),
    ],
)
async def test_margin(home: Path, service: Service, lifetime: float, fresh_for: float) -> None:
    async with running(home, service) as device:
        service.lifetime = lifetime
        await device.sign_in(age=7200)
        first = await device.token()
        device.clocks.pass_by(fresh_for - 1)
        assert await device.token() == first
        device.clocks.pass_by(2)
        second = await device.token()
        assert second != first
        assert device.asked == 2
        given = await device.source.token()
        assert given.expires_at == pytest.approx(device.clocks.wall + lifetime)


async def test_a_valid_token_of_an_earlier_process_is_returned(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        first = await device.sign_in(age=3600 - 662)
        assert await device.token() == first
        device.clocks.pass_by(3)
        assert await device.token() != first
        assert device.asked == 1


@pytest.mark.parametrize("lifetime", [None, -5, "soon", 0, "", []])
async def test_without_a_lifetime_a_token_is_used_until_it_is_refused(
    home: Path, service: Service, lifetime: object
) -> None:
    async with running(home, service) as device:
        service.lifetime = lifetime
        await device.sign_in(age=7200)
        first = await device.token()
        assert (await device.grant()).expires_at is None
        device.clocks.pass_by(6 * DAY)
        assert await device.token() == first
        device.restart()
        assert await device.token() == first
        assert device.asked == 1
        assert await device.token(force=True) != first


async def test_a_lifetime_that_is_a_string(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        service.lifetime = "900"
        await device.sign_in(age=7200)
        await device.token()
        device.clocks.pass_by(680)
        await device.token()
        assert device.asked == 2


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR, -55 * YEAR, 2 * 3600.0, -2 * 3600.0])
async def test_a_jump_of_the_wall_clock_has_no_effect(home: Path, service: Service, jump: float) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        first = await device.token()
        device.clocks.wall += jump
        device.clocks.pass_by(2900)
        assert await device.token() == first
        device.clocks.pass_by(60)
        second = await device.token()
        assert second != first
        device.clocks.pass_by(2900)
        device.clocks.wall -= jump
        assert await device.token() == second
        assert device.asked == 2


@pytest.mark.parametrize("start", [0.0, 1e6])
async def test_a_device_whose_clock_starts_in_1970(home: Path, service: Service, start: float) -> None:
    """What was stored says nothing then: it is renewed, once."""
    async with running(home, service) as device:
        stored = await device.sign_in()
        device.clocks.wall = start
        renewed = await device.token()
        assert renewed != stored
        device.clocks.pass_by(600)
        assert await device.token() == renewed
        device.restart()
        assert await device.token() == renewed
        assert device.asked == 1

        # The clock is set, and the next process finds a token of 1970.
        device.clocks.wall = FakeClocks().wall
        assert await device.token() == renewed
        device.restart()
        assert await device.token() != renewed
        assert device.asked == 2


async def test_a_device_in_1970_without_refresh_uses_its_token(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        stored = await device.sign_in(renewable=False)
        device.clocks.wall = 100.0
        assert await device.token() == stored
        assert device.asked == 0
        await device.refuse("token_not_renewable", force=True)


async def test_a_device_ten_years_ahead(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        device.clocks.wall += 10 * YEAR
        renewed = await device.token()
        device.restart()
        assert await device.token() == renewed
        assert device.asked == 1


@pytest.mark.parametrize("ahead", [YEAR, -YEAR, 400.0])
async def test_a_service_whose_clock_is_wrong(home: Path, service: Service, ahead: float) -> None:
    """Lifetimes are spans, so it does not matter; it is noted for people."""
    async with running(home, service) as device:
        service.ahead = ahead
        await device.sign_in(age=7200)
        first = await device.token()
        assert (await device.grant()).skew == pytest.approx(ahead, abs=60)
        device.clocks.pass_by(2900)
        device.restart()
        assert await device.token() == first
        device.clocks.pass_by(60)
        await device.token()
        assert device.asked == 2


def test_the_skew_reveals_a_clock_change() -> None:
    """A token stored in 1970, by a device that knew how wrong it was, and read when the clock is right."""
    now = FakeClocks().wall
    wrong_by = now - 500.0
    kept = grant(("a", "r"), 400.0, lifetime=3600.0)
    clocks = Clocks(wall=lambda: now, monotonic=lambda: 5000.0)

    ignorant = timing_of_stored(kept, clocks, 0.0, 0.0)
    assert ignorant.expires_at < 5000.0

    kept = grant(("a", "r"), 400.0, lifetime=3600.0)
    object.__setattr__(kept, "skew", wrong_by)
    knowing = timing_of_stored(kept, clocks, 0.001, 0.0)
    assert knowing.issued_at == pytest.approx(5000.0 - 100.0)
    assert knowing.expires_at == pytest.approx(5000.0 + 3500.0)


def test_an_impossible_token_age() -> None:
    clocks = Clocks(wall=lambda: 1000.0, monotonic=lambda: 50.0)
    assert timing_of_stored(grant(("a", "r"), 1061.0), clocks, 0.0, 0.0) == TokenTiming.unknown()
    assert timing_of_stored(grant(("a", "r"), 1059.0), clocks, 0.0, 0.0).issued_at == 50.0


async def test_the_lifetime_begins_with_the_request(home: Path, service: Service) -> None:
    async with running(home, service) as device:

        class Slow(SignedInFlow):
            async def refresh(self, client: OAuthClient, http: TokenHttp, grant: Grant) -> Grant:
                renewed = await super().refresh(client, http, grant)
                device.clocks.pass_by(40)
                return renewed

        device.flow = Slow()
        device.restart()
        service.lifetime = 100
        await device.sign_in(age=7200)
        asked_at = device.clocks.wall
        given = await device.source.token()
        assert given.expires_at == pytest.approx(asked_at + 100)
        device.clocks.pass_by(34)
        await device.token()
        assert device.asked == 1
        device.clocks.pass_by(2)
        await device.token()
        assert device.asked == 2


async def test_a_grant_unused_for_a_week_is_kept_alive(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(lifetime=1e9)
        assert not await device.source.refresh_if_idle()
        device.clocks.pass_by(7 * DAY - 1)
        assert not await device.source.refresh_if_idle()
        assert device.asked == 0
        device.clocks.pass_by(2)
        assert await device.source.refresh_if_idle()
        assert not await device.source.refresh_if_idle()
        assert device.asked == 1

        # Another process that starts after a week finds it due too; so does one that cannot tell.
        device.clocks.pass_by(7 * DAY)
        device.restart()
        assert await device.source.refresh_if_idle()
        device.clocks.wall = 0.0
        device.restart()
        assert await device.source.refresh_if_idle()
        assert not await device.source.refresh_if_idle()
        assert device.asked == 3


async def test_a_grant_without_refresh_token_does_not_expire_by_disuse(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        assert not await device.source.refresh_if_idle()
        await device.sign_in(renewable=False)
        device.clocks.pass_by(30 * DAY)
        assert not await device.source.refresh_if_idle()
        assert device.asked == 0

"""One refresh at a time for all tasks, adoption of stored grants, and refused tokens."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.oauth.token_errors import TokenServiceError
from mailslot.sasl.credentials import TokenSource
from mailslot.wire.secret import Secret
from refresh import device as devices
from refresh.device import running
from refresh.service import ScriptedResponse

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.oauth.grant_source import GrantSource
    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.providers import Provider
    from refresh.device import Device
    from refresh.service import Policy, Service


async def all_at_once(*sources: GrantSource, force: bool = False) -> set[str]:
    """Ask all sources at the same time; what they gave."""
    given: list[str] = []

    async def ask(source: GrantSource) -> None:
        given.append((await source.token(force=force)).value.reveal())

    async with anyio.create_task_group() as tasks:
        for source in sources:
            tasks.start_soon(ask, source)
    assert len(given) == len(sources)
    return set(given)


async def test_it_is_a_token_source(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        assert isinstance(device.source, TokenSource)


@pytest.mark.parametrize("force", [False, True])
async def test_fifty_tasks_refresh_once(home: Path, service: Service, force: bool) -> None:
    async with running(home, service) as device:
        old = await device.sign_in(age=0 if force else 7200)
        service.slow = 0.05
        given = await all_at_once(*[device.source] * 50, force=force)
        assert len(given) == 1
        assert given != {old}
        assert (device.asked, service.state.reused) == (1, 0)


@pytest.mark.parametrize("force", [False, True])
async def test_fifty_sources_of_one_record_refresh_once(home: Path, service: Service, force: bool) -> None:
    """As 50 processes would, each with a memory of its own."""
    async with running(home, service) as device:
        await device.sign_in(age=0 if force else 7200)
        service.slow = 0.05
        sources = [device.another() for _ in range(50)]
        if force:
            assert len(await all_at_once(*sources)) == 1
        assert len(await all_at_once(*sources, force=force)) == 1
        assert (device.asked, service.state.reused) == (1, 0)


async def test_tasks_that_hold_the_refused_token_get_the_new_one(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        old = await device.sign_in()
        assert await device.token() == old
        others = device.another()
        assert (await others.token()).value == old
        new = await device.token(force=True)
        assert new != old
        # Refused too, but the token that the others have is not the one that is kept now.
        assert (await others.token(force=True)).value == new
        assert device.asked == 1


async def test_a_token_refreshed_by_another_task_is_not_the_refused_one(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        old = await device.sign_in(age=2900)
        others = device.another()
        assert (await others.token()).value == old
        device.clocks.pass_by(100)
        new = await device.token()
        assert new != old
        assert (await others.token(force=True)).value == new
        assert device.asked == 1
        assert (await others.token(force=True)).value != new
        assert device.asked == 2


async def test_a_token_deleted_while_others_wait_to_refresh_it(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=3300)
        async with anyio.create_task_group() as tasks, devices.store(home).lock():
            tasks.start_soon(device.refuse, "token_not_retrieved")
            await anyio.sleep(0.05)
            await device.store.delete()
        assert device.asked == 0


async def test_a_grant_written_by_another_process_is_adopted(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        first = await device.token()
        other = device.another()
        device.clocks.pass_by(3000)
        second = (await other.token()).value.reveal()
        assert second != first
        assert await device.token() == second
        assert device.asked == 2


async def test_a_token_deleted_or_obtained_elsewhere_counts_at_once(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        await device.token()
        await device.store.delete()
        await device.refuse("token_not_retrieved")
        await device.refuse("token_not_retrieved", force=True)
        new = await device.sign_in()
        assert await device.token() == new
        assert device.asked == 0


async def test_without_a_grant(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        error = await device.refuse("token_not_retrieved")
        assert not error.retryable
    assert not await anyio.Path(home).exists()


async def test_authorized_but_not_yet_fetched(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        await device.store.save(replace(await device.grant(), access_token=None, expires_at=None))
        await device.token()
        assert device.asked == 1


async def test_a_refused_token_is_refreshed_once(home: Path, service: Service) -> None:
    """If the new one is refused as well, renewing does not help, and is tried ever more rarely."""
    async with running(home, service) as device:
        service.lifetime = 1e6
        await device.sign_in(lifetime=1e6)
        first = await device.token()
        second = await device.token(force=True)
        assert second != first
        for _ in range(10):
            assert await device.token(force=True) == second
        device.restart()
        for _ in range(10):
            assert await device.token() == second
            assert await device.token(force=True) == second
        assert device.asked == 1

        device.clocks.pass_by(61)
        third = await device.token(force=True)
        assert third != second
        device.clocks.pass_by(61)
        assert await device.token(force=True) == third
        device.clocks.pass_by(60)
        assert await device.token(force=True) != third
        assert device.asked == 3

        # Over a day in which every single try is refused.
        for _ in range(24 * 60):
            device.clocks.pass_by(60)
            await device.token(force=True)
        assert device.asked < 3 + 30

        # It stays good for long: the next refusal is another matter.
        device.clocks.pass_by(1e6)
        await device.token()
        asked = device.asked
        await device.token(force=True)
        assert device.asked == asked + 1


async def test_a_refused_token_near_its_expiry_is_refreshed(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        service.lifetime = 40
        await device.sign_in()
        first = await device.token(force=True)
        device.clocks.pass_by(31)
        assert await device.token(force=True) != first


@pytest.mark.parametrize("renewable", [True, False])
async def test_no_refresh_token(home: Path, service: Service, renewable: bool) -> None:
    async with running(home, service) as device:
        old = await device.sign_in(age=3300, renewable=renewable)
        given = await device.token()
        assert (given == old) is not renewable
        if not renewable:
            error = await device.refuse("token_not_renewable", force=True)
            assert not error.retryable
            device.clocks.pass_by(400)
            await device.refuse("token_not_renewable")
            assert device.asked == 0
            failure = (await device.grant()).failure
            assert failure is not None
            assert failure.cause == "token_not_renewable"


@pytest.mark.parametrize("policy", ["strict", "lax", "fixed"])
async def test_sequential_refreshes(home: Path, service: Service, policy: Policy) -> None:
    async with running(home, service) as device:
        service.policy = policy
        await device.sign_in(age=7200)
        before = None
        for number in range(20):
            await device.token()
            kept = await device.grant()
            assert kept.previous_refresh_token == (None if policy == "fixed" else before or kept.previous_refresh_token)
            assert kept.failure is None
            before = kept.refresh_token
            device.clocks.pass_by(3000)
            if number % 5 == 0:
                device.restart()
        assert (device.refreshes, service.state.reused) == (20, 0)


async def test_the_newest_refresh_token_is_unknown_to_the_provider(home: Path, service: Service) -> None:
    """A service that comes back from its backup knows the one before, which was kept for that."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        await device.token()
        earlier = (await device.grant()).previous_refresh_token
        device.clocks.pass_by(3000)
        service.forget_newest()
        await device.token()
        assert device.asked == 4  # the newest twice, then the one before
        kept = await device.grant()
        assert kept.previous_refresh_token == earlier
        assert kept.failure is None
        device.clocks.pass_by(3000)
        await device.token()
        assert device.asked == 5


async def test_neither_refresh_token_is_known(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        await device.token()
        kept = await device.grant()
        device.clocks.pass_by(3601)
        service.begin()
        await device.refuse("token_update_failed")
        assert device.asked == 3
        await device.refuse("token_update_failed")
        device.restart()
        await device.refuse("token_update_failed")
        assert device.asked == 3
        after = await device.grant()
        assert (after.refresh_token, after.previous_refresh_token) == (kept.refresh_token, kept.previous_refresh_token)


async def test_a_provider_that_gives_the_same_access_token_again(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        kept = await device.grant()

        class Same(type(device.flow)):
            async def refresh(self, client, http, grant):
                return replace(await super().refresh(client, http, grant), access_token=kept.access_token)

        device.flow = Same()
        device.restart()
        assert (await device.source.token()).value == kept.access_token
        assert (await device.source.token()).value == kept.access_token
        assert device.asked == 1
        for _ in range(5):
            await device.source.token(force=True)
        assert device.asked == 2


async def test_a_response_without_a_refresh_token_keeps_the_old_one(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        before = (await device.grant()).refresh_token

        class Careless(type(device.flow)):
            async def refresh(self, client, http, grant):
                return replace(await super().refresh(client, http, grant), refresh_token=None)

        device.flow = Careless()
        device.restart()
        await device.token()
        assert (await device.grant()).refresh_token == before


async def test_an_unreadable_store(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        old = await device.sign_in()
        file = home / "vault" / "smtp.json"
        good = file.read_bytes()
        for bad in (b"", b"{}", good[:-40], good.replace(b'"ciphertext": "', b'"ciphertext": "AAAA')):
            file.write_bytes(bad)
            error = await device.refuse("token_store_unreadable")
            assert not error.retryable
            await device.refuse("token_store_unreadable", force=True)
            assert file.read_bytes() == bad
        file.write_bytes(good)
        assert await device.token() == old
        key = (home / "key").read_bytes()
        (home / "key").unlink()
        await device.refuse("token_store_unreadable")
        (home / "key").write_bytes(key)
        (home / "key").chmod(0o600)
        assert await device.token() == old


async def test_a_grant_of_another_version(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in()
        vault = device.store._vault
        for text in ("[]", "{}", "null", "at-no-json-at-all", '{"flow": "browser"}'):
            vault.write("smtp", {"grant": Secret(text)})
            await device.refuse("token_store_unreadable")
        service.issued.append("at-no-json-at-all")


def discovering(device: Device, monkeypatch: pytest.MonkeyPatch) -> list[Provider]:
    """Let the device know only the issuer; return the providers whose endpoints it discovers from now on."""
    known = device.client.provider
    unknown = replace(known, endpoints=replace(known.endpoints, token="", issuer=device.service.url))
    device.client = replace(device.client, provider=unknown)
    asked: list[Provider] = []

    async def complete(provider: Provider, http: TokenHttp) -> Provider:
        asked.append(provider)
        return known

    monkeypatch.setattr("mailslot.oauth.discovery.complete_provider", complete)
    device.restart()
    return asked


async def test_a_discovered_provider(home: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the issuer is known, its endpoints are asked for before the first refresh, and once."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        asked = discovering(device, monkeypatch)
        await device.token()
        device.clocks.pass_by(3000)
        await device.token()
        assert [provider.endpoints.token for provider in asked] == [""]


@pytest.mark.parametrize(
    ("answer", "discovered_again"),
    [
        (ScriptedResponse(404), True),
        # Such a response is lost, so the request is repeated at once, and then answered.
        (ScriptedResponse(200, garble=lambda _: b"<html>"), False),
        (ScriptedResponse(503), False),
        (ScriptedResponse(400, {"error": "temporarily_unavailable"}), False),
    ],
)
async def test_endpoints_are_discovered_again_if_no_token_service_answers(
    home: Path, service: Service, monkeypatch: pytest.MonkeyPatch, answer: ScriptedResponse, discovered_again: bool
) -> None:
    """A provider may move its token service while the device runs."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        asked = discovering(device, monkeypatch)
        await device.token()
        service.say = [answer]
        for _ in range(2):
            device.clocks.pass_by(3601)
            with suppress(TokenServiceError):
                await device.token()
        assert not service.say
        assert device.refreshes >= 2
        assert len(asked) == (2 if discovered_again else 1)


async def test_endpoints_are_discovered_for_each_sign_in(
    home: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home, service) as device:
        device.flow.grant = devices.grant(service.begin(), device.clocks.wall)
        asked = discovering(device, monkeypatch)
        for times in (1, 2):
            await device.source.obtain(None)
            await device.token()
            assert len(asked) == times

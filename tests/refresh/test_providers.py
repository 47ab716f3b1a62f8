"""Refreshing with complete providers: the sandbox, in the device's event loop, and oidc-provider as a process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.oauth import refresh_attempts
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.providers import custom_provider
from mailslot_plugins.sandbox import run_sandbox
from mailslot_plugins.sandbox.web_faults import WebFault
from mailslot_plugins.tokens.device import DeviceFlow
from mailslot_plugins.tokens.paste import PasteFlow
from refresh import device as devices
from refresh.device import FakeClocks
from refresh.test_processes import prove
from tokens.people import USER, ChromiumUser, NoPrompt, enter_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lab.browser import Browser
    from lab.provider import Provider as LabProvider
    from mailslot.oauth.flow import Flow, UserCode
    from mailslot_plugins.sandbox import Sandbox

SCOPES = ("openid", "email", "offline_access", "mail.pop", "mail.send")


class EntersCode(NoPrompt):
    """Enters the code that is shown, at the sandbox."""

    async def show_code(self, code: UserCode) -> None:
        await enter_code(code)


@asynccontextmanager
async def panel(home: Path, issuer: str, flow: Flow, account: str) -> AsyncIterator[tuple[GrantSource, FakeClocks]]:
    """A source whose provider is known by its issuer alone."""
    async with TokenHttp(timeout=120, trust_env=False) as http:
        clocks = FakeClocks()
        client = OAuthClient(custom_provider(issuer=issuer, scopes=" ".join(SCOPES)), "panel", account, SCOPES)
        yield GrantSource("smtp", devices.store(home), flow, client, http, clocks=clocks.clocks), clocks


@asynccontextmanager
async def at_sandbox(home: Path) -> AsyncIterator[tuple[Sandbox, GrantSource, FakeClocks]]:
    """Somebody has signed in at a sandbox that ends a grant whose refresh token is used twice."""
    async with run_sandbox() as sandbox:
        sandbox.provider.register("panel")
        sandbox.provider.rotation = "strict"
        sandbox.token_service.authorizations.interval = 0
        async with panel(home, sandbox.issuer, DeviceFlow(interval=0.01), USER) as (source, clocks):
            await source.obtain(EntersCode())
            sandbox.token_service.requests.clear()
            yield sandbox, source, clocks
        assert not sandbox.errors


async def test_fifty_tasks_at_the_sandbox(home: Path) -> None:
    async with at_sandbox(home) as (sandbox, source, clocks):
        given = set()

        async def ask() -> None:
            given.add((await source.token()).value.reveal())

        for number in range(1, 4):
            clocks.pass_by(3000)
            given.clear()
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(ask)
            assert len(given) == 1
            assert sandbox.provider.find(given.pop())
            assert sandbox.token_service.requests == ["token refresh_token 200"] * number

        # A mail server refuses it; the next one is taken.
        old = await source.token()
        sandbox.provider.expire(old)
        new = await source.token(force=True)
        assert new != old
        assert sandbox.provider.find(new.value.reveal())

        told = await source.delete()
        assert told.notified
        assert sandbox.provider.find(new.value.reveal()) is None


@pytest.mark.parametrize("rotation", ["none", "lax", "strict"])
async def test_a_response_lost_after_the_sandbox_has_acted(
    home: Path, rotation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh_attempts, "_RETRY_DELAYS", (0.0, 0.0))
    async with at_sandbox(home) as (sandbox, source, clocks):
        sandbox.provider.rotation = rotation
        sandbox.token_service.faults.append(WebFault("token", "refresh_token", 1, cut=True))
        clocks.pass_by(3601)
        if rotation == "strict":
            with pytest.raises(MailError) as caught:
                await source.token()
            assert caught.value.cause == "token_update_failed"
            kept = await devices.store(home).load()
            assert kept is not None
            assert kept.refresh_token
        else:
            token = await source.token()
            assert sandbox.provider.find(token.value.reveal())
        assert len(sandbox.token_service.requests) == (3 if rotation == "strict" else 2)


async def test_the_sandboxs_clock_is_wrong(home: Path) -> None:
    async with at_sandbox(home) as (sandbox, source, clocks):
        sandbox.provider.clock_ahead = 86400.0
        clocks.pass_by(3000)
        first = await source.token()
        assert sandbox.provider.find(first.value.reveal())
        assert await source.token() == first
        kept = await devices.store(home).load()
        assert kept is not None
        assert kept.skew == pytest.approx(86400, abs=300)


async def test_oidc_provider(home: Path, provider: LabProvider, browser: Browser) -> None:
    """It ends a grant when a refresh token is used twice, which neither tasks nor processes do."""
    alice = "alice@example.test"
    async with panel(home, provider.issuer, PasteFlow(), alice) as (source, clocks):
        await source.obtain(ChromiumUser(browser=browser))
        for _ in range(3):
            clocks.pass_by(3000)
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(source.token)
        store = devices.store(home)
        kept = await store.load()
        assert kept is not None
        await store.save(devices.expired(kept, clocks.wall))
        told = await run_sync(prove, "elsewhere", home, provider.issuer, "panel")
        for secret in (kept.access_token, kept.refresh_token):
            assert secret is not None
            assert secret.reveal() not in told
        token = await source.token()
        assert provider.introspect(token.value.reveal())["active"]
        assert (await source.delete()).notified
        assert not provider.introspect(token.value.reveal())["active"]

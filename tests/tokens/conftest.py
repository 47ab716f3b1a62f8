"""An HTTP client, a sandbox, and applications registered there and in the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.oauth.client import OAuthClient
from mailslot.oauth.discovery import complete_provider
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.providers import custom_provider
from mailslot_plugins.sandbox import run_sandbox
from tokens.people import USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lab.provider import Provider as LabProvider
    from mailslot_plugins.sandbox import Sandbox

SCOPES = "openid email offline_access mail.pop mail.send"


@pytest.fixture
async def http() -> AsyncIterator[TokenHttp]:
    """The HTTP client; in virtual time, its timeout takes no real time."""
    async with TokenHttp(timeout=30, trust_env=False) as http:
        yield http


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with run_sandbox() as running:
        yield running
        assert not running.errors


@pytest.fixture
async def panel(sandbox: Sandbox, http: TokenHttp) -> OAuthClient:
    """An installed application without a secret, at the sandbox."""
    sandbox.provider.register("panel")
    provider = await complete_provider(custom_provider(issuer=sandbox.issuer, scopes=SCOPES), http)
    return OAuthClient(provider, "panel", USER, tuple(SCOPES.split()))


@pytest.fixture
async def lab_panel(provider: LabProvider, http: TokenHttp) -> OAuthClient:
    """The same in the lab."""
    known = await complete_provider(custom_provider(issuer=provider.issuer, scopes=SCOPES), http)
    return OAuthClient(known, "panel", "alice@example.test", tuple(SCOPES.split()))

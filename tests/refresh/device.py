"""A device with one record: its home folder, the real vault, and a token source to a service."""

from __future__ import annotations

import time
import traceback
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from mailslot.errors import MailError
from mailslot.home.folder import FolderHome
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.grant import Grant
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.origin import bind_origin
from mailslot.oauth.providers import Endpoints, Provider
from mailslot.oauth.refresh_token_flow import RefreshTokenFlow
from mailslot.oauth.timing import Clocks
from mailslot.slots.grant_store import RecordGrantStore
from mailslot.vault.documents import FolderDocuments
from mailslot.vault.keys import KeyRing
from mailslot.vault.vault import Vault
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot.oauth.flow import Person
    from mailslot.oauth.grant import GrantStore
    from refresh.service import Service

ACCOUNT = "scanner@example.com"

ERRORS: list[str] = []
"""Every error that a test has met, with its traceback."""


class FakeClocks:
    """Clocks that move only when a test moves them."""

    def __init__(self, wall: float | None = None) -> None:
        self.wall = time.time() if wall is None else wall
        self.monotonic = 1000.0
        self.slept: list[float] = []

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass without waiting."""
        self.slept.append(seconds)
        self.pass_by(seconds)
        await anyio.lowlevel.checkpoint()

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=lambda: self.wall, monotonic=lambda: self.monotonic, sleep=self.sleep)


class SignedInFlow(RefreshTokenFlow):
    """A flow whose sign-in is already done."""

    name = "browser"

    def __init__(self, grant: Grant | None = None) -> None:
        self.grant = grant

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: Person) -> Grant:
        assert self.grant is not None
        return self.grant


def client(url: str, client_id: str = "printer", *, secret: str | None = None, revocation: bool = True) -> OAuthClient:
    """An application of the service's."""
    endpoints = Endpoints(token=f"{url}/token", revocation=f"{url}/revoke" if revocation else None)
    return OAuthClient(
        Provider("custom", "Test", endpoints),
        client_id,
        ACCOUNT,
        ("mail.send",),
        client_secret=None if secret is None else Secret(secret),
    )


def store(home: Path) -> RecordGrantStore:
    return RecordGrantStore(Vault(FolderDocuments(home), KeyRing.load(home, None)), "smtp", FolderHome(home))


def grant(tokens: tuple[str, str | None], now: float, *, lifetime: float | None = 3600.0, age: float = 0.0) -> Grant:
    """A grant whose access token was issued some time ago."""
    access, refresh = tokens
    return Grant(
        flow="browser",
        access_token=Secret(access),
        expires_at=None if lifetime is None else now - age + lifetime,
        refresh_token=None if refresh is None else Secret(refresh),
        scopes=("mail.send",),
        obtained_at=now - age,
        renewed_at=now - age,
        account=ACCOUNT,
    )


def expired(of: Grant, now: float) -> Grant:
    """Return the grant with an expired access token."""
    return replace(of, renewed_at=now - 7200, expires_at=now - 3600)


class Device:
    """A device with a token source to a service.

    Attributes:
        home: its home folder.
        service: the service.
        clocks: its clocks.
        store: where the grant is kept.
        http: what it asks over.
        source: the token source; `restart` makes a new one.
    """

    def __init__(self, home: Path, service: Service, clocks: FakeClocks, http: TokenHttp) -> None:
        self.home = home
        self.service = service
        self.clocks = clocks
        self.http = http
        self.store: GrantStore = store(home)
        self.flow = SignedInFlow()
        self.client = client(service.url, secret=service.secret)
        self.source = self.another()

    def another(self) -> GrantSource:
        """Return a second token source, as in another process of the device."""
        return GrantSource(
            "smtp",
            self.store,
            self.flow,
            self.client,
            self.http,
            clocks=self.clocks.clocks,
            random=lambda: 0.5,
        )

    def restart(self) -> None:
        self.source = self.another()

    async def sign_in(self, *, lifetime: float | None = 3600.0, age: float = 0.0, renewable: bool = True) -> str:
        """Keep a grant whose access token was issued some time ago; returns that."""
        access, refresh = self.service.begin()
        tokens = (access, refresh if renewable else None)
        await self.store.save(self.obtained(grant(tokens, self.clocks.wall, lifetime=lifetime, age=age)))
        return access

    def obtained(self, of: Grant) -> Grant:
        """The same grant, obtained from the service."""
        return bind_origin(of, self.client)

    async def token(self, *, force: bool = False, ignore_backoff: bool = False) -> str:
        """Return the token; check that the service accepts it."""
        value = (await self.source.token(force=force, ignore_backoff=ignore_backoff)).value.reveal()
        assert self.service.accepts(value)
        return value

    async def refuse(self, cause: str, *, force: bool = False, ignore_backoff: bool = False) -> MailError:
        """Check that no token is returned, and for which cause."""
        with pytest.raises(MailError) as caught:
            await self.source.token(force=force, ignore_backoff=ignore_backoff)
        error = caught.value
        ERRORS.append("".join([*traceback.format_exception(error), repr(error), error.detail]))
        assert error.cause == cause, (error, error.detail)
        return error

    async def grant(self) -> Grant:
        """Return the stored grant."""
        kept = await self.store.load()
        assert kept is not None
        return kept

    @property
    def asked(self) -> int:
        return self.service.state.asked

    @property
    def refreshes(self) -> int:
        return self.service.state.refreshes


@asynccontextmanager
async def running(
    home: Path, service: Service, clocks: FakeClocks | None = None, **options: float
) -> AsyncIterator[Device]:
    """A device until the context is left."""
    async with TokenHttp(**options) as http:
        yield Device(home, service, clocks or FakeClocks(), http)

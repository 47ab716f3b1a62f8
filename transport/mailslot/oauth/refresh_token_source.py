"""A token source made from a refresh token, for programs that store their tokens themselves."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import anyio

from mailslot.errors import MailError, TokenError
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.grant import Grant
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.presets import preset
from mailslot.oauth.refresh_token_flow import RefreshTokenFlow
from mailslot.oauth.settings_digest import settings_digest
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path
    from types import TracebackType

    from mailslot.oauth.providers import Provider
    from mailslot.sasl.credentials import AccessToken


class RefreshTokenSource:
    """A `mailslot.TokenSource` that uses a refresh token (RFC 6749 section 6); close it, or use it with ``async with``.

    An access token is used until it is about to expire, and only one request is made at a time. Once a request is sent,
    it is finished and its refresh token is passed to `on_rotation`, even if the caller is cancelled. If several
    processes share a refresh token, store it in a record of mailslot instead, since a provider may revoke the grant
    when two of them use the same refresh token.

    Args:
        provider: the name of a preset, such as ``"microsoft365"``, or a provider from
            `mailslot.oauth.providers.custom_provider`.
        client_id: the application's id.
        refresh_token: the refresh token.
        client_secret: the application's secret; None for a public client.
        tenant: the organisation's tenant at Microsoft 365; None for the preset's default.
        on_rotation: awaited with each new refresh token, before the new access token is used. If it raises, the new
            refresh token stays in memory and is passed again at the next call of `token`.
        ca_file: a file of certificate authorities in PEM to trust besides the system's.
        timeout: seconds for each step of a request.

    Raises:
        InputError: the provider is not known, or the refresh token or `ca_file` cannot be used.
    """

    def __init__(
        self,
        provider: str | Provider,
        client_id: str,
        refresh_token: str | Secret,
        *,
        client_secret: str | Secret | None = None,
        tenant: str | None = None,
        on_rotation: Callable[[Secret], Awaitable[None]] | None = None,
        ca_file: Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        known = preset(provider) if isinstance(provider, str) else provider
        client = OAuthClient(
            known.at_tenant(tenant),
            client_id,
            account="",
            scopes=(),
            client_secret=None if client_secret is None else Secret(client_secret),
            tenant=tenant,
        )
        self._http = TokenHttp(ca_file=ca_file, timeout=timeout)
        grant = Grant(
            flow=_RefreshOnlyFlow.name,
            access_token=None,
            expires_at=None,
            refresh_token=Secret(refresh_token),
            scopes=(),
            obtained_at=time.time(),
            renewed_at=0.0,
            settings=settings_digest(client, _RefreshOnlyFlow.name),
        )
        store = _MemoryStore(grant, on_rotation)
        self._source = GrantSource(client_id, store, _RefreshOnlyFlow(), client, self._http)

    async def token(self, *, force: bool = False) -> AccessToken:
        """Return an access token; a new one if the last one is about to expire.

        Args:
            force: whether the mail server refused the last one.

        Raises:
            MailError: the provider refused or was not reached; with the cause.
        """
        return await self._source.token(force=force)

    async def forget(self) -> None:
        """Revoke the refresh token at the provider if possible, and drop it here."""
        await self._source.forget()

    async def aclose(self) -> None:
        """Close the connections to the token service."""
        await self._http.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _RefreshOnlyFlow(RefreshTokenFlow):
    """A flow that can only refresh, since the refresh token was obtained elsewhere."""

    name = "refresh_token"

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: object) -> Grant:  # noqa: ARG002 - the protocol's arguments
        """Raise, since nobody signs in here."""
        raise TokenError("Nobody signs in here: the refresh token comes from elsewhere.", cause="token_not_retrieved")


class _MemoryStore:
    """A `mailslot.oauth.grant.GrantStore` in memory that passes each new refresh token to its owner first."""

    def __init__(self, grant: Grant, on_rotation: Callable[[Secret], Awaitable[None]] | None) -> None:
        self._grant: Grant | None = grant
        self._on_rotation = on_rotation
        self._kept = grant.refresh_token
        self._lock = anyio.Lock()

    async def load(self) -> Grant | None:
        """Return the grant."""
        return self._grant

    async def save(self, grant: Grant) -> None:
        """Store the grant after passing its refresh token to the owner.

        Raises:
            TokenError: cause `token_store_unwritable`: `on_rotation` raised.
        """
        refresh_token = grant.refresh_token
        if self._on_rotation is not None and refresh_token is not None and refresh_token != self._kept:
            try:
                await self._on_rotation(refresh_token)
            except MailError:
                raise
            except Exception as error:
                raise TokenError(
                    "The new refresh token could not be handed over, and is in memory only.",
                    cause="token_store_unwritable",
                    retryable=True,
                    detail=f"on_rotation raised {type(error).__name__}",
                ) from error
        self._grant, self._kept = grant, refresh_token

    async def delete(self) -> None:
        """Drop the grant."""
        self._grant = None

    @asynccontextmanager
    async def lock(self) -> AsyncGenerator[None]:
        """Let one task refresh at a time."""
        async with self._lock:
            yield

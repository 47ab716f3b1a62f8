"""The token sources of a process: one for each record, so that a token is not refreshed twice."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import MailError, TokenError
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.settings_digest import settings_digest
from mailslot.oauth.timing import Clocks
from mailslot.slots.direct_token_source import direct_token_source
from mailslot.slots.flows import choose_flow, find_flow
from mailslot.slots.oauth_client import client_for_flow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.net.server_gate import ServerGate
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.flow import Flow, Person
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from mailslot.sasl.credentials import AccessToken, TokenSource
    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings


class TokenSources:
    """The token sources of all records, and the HTTP clients that they share.

    Args:
        records: the home folder.
        clocks: the device's clocks; None for the machine's.
        gate: says whether a token service may be contacted now; None if it always may.
    """

    def __init__(self, records: Records, clocks: Clocks | None = None, gate: ServerGate | None = None) -> None:
        self._records = records
        self._gate = gate
        self._clocks = clocks
        self._https: dict[tuple[Path | None, int], TokenHttp] = {}
        self._sources: dict[str, tuple[object, TokenSource]] = {}
        self._stack = AsyncExitStack()
        self._http_lock = anyio.Lock()

    async def aclose(self) -> None:
        """Close all connections to token services."""
        await self._stack.aclose()

    @property
    def has_unsaved(self) -> bool:
        """Whether a grant could not be saved, and is in memory only."""
        sources = (source for _, source in self._sources.values())
        return any(isinstance(source, GrantSource) and source.unsaved is not None for source in sources)

    async def source(self, record: str, settings: Settings) -> TokenSource:
        """Return a record's token source; if it cannot be made, return one that raises the reason when it is used.

        Two tasks must not call it at the same time.
        """
        if settings.token_source is not None:
            return await self._cached(
                record, settings, partial(direct_token_source, self._records.vault, record, settings)
            )
        store = self._records.tokens.store(record)
        grant = None
        try:
            grant = await store.load()
            flow, client = await run_sync(self._flow_and_client, record, settings, grant)
            http = await self.http(settings)
            key = (settings_digest(client, flow.name), settings.ca_file, settings.timeout)
            make = partial(
                GrantSource,
                record,
                store,
                flow,
                client,
                http,
                clocks=self._clocks,
                locate=store.locate,
                confirm_lock=store.confirm_lock,
                gate=self._gate,
            )
            return await self._cached(record, key, make)
        except MailError as error:
            if grant is not None or error.cause.startswith("token_store_"):
                return UnavailableTokenSource(error)
            # Other missing settings are reported when a token is obtained.
            sentence = "No token has been obtained yet."
            return UnavailableTokenSource(TokenError(sentence, cause="token_not_retrieved", detail=str(error)))

    def _flow_and_client(
        self, record: str, settings: Settings, grant: Grant | None
    ) -> tuple[Flow[Person], OAuthClient]:
        flow = choose_flow(settings, None) if grant is None else find_flow(grant.flow)
        return flow, client_for_flow(self._records.vault, record, settings, flow.name, signs_in=grant is None)

    async def http(self, settings: Settings) -> TokenHttp:
        """Return the HTTP client for token services that fits a record's settings.

        Raises:
            InputError: the file of certificate authorities or the proxy cannot be used.
        """
        key = (settings.ca_file, settings.timeout)
        async with self._http_lock:
            if key not in self._https:
                http = await run_sync(_make_http, settings, self._clocks or Clocks())
                self._https[key] = await self._stack.enter_async_context(http)
            return self._https[key]

    def skew(self, settings: Settings) -> float:
        """Return `TokenHttp.skew` of that client; 0.0 if it has not been used yet."""
        http = self._https.get((settings.ca_file, settings.timeout))
        return 0.0 if http is None else http.skew

    async def _cached(self, record: str, key: object, make: Callable[[], TokenSource | None]) -> TokenSource:
        """Return the source that was made for the same settings, or make a new one."""
        before, former = self._sources.get(record, (None, None))
        source = former
        if source is None or before != key:
            source = await run_sync(make)
            assert source is not None  # noqa: S101 - `direct_token_source` makes one where `token_source` is set
            _hand_over(former, source)
            self._sources[record] = (key, source)
        return source


def _make_http(settings: Settings, clocks: Clocks) -> TokenHttp:
    from mailslot.oauth.http import TokenHttp  # noqa: PLC0415 - an HTTP client is loaded only when it is needed

    # How far a token service is ahead is stored with its token, so all workers of a fleet must go by the same clock,
    # while their machines may have different times.
    return TokenHttp(ca_file=settings.ca_file, timeout=float(settings.timeout), clocks=clocks)


def _hand_over(former: TokenSource | None, source: TokenSource) -> None:
    """Pass a grant that could not be saved, if there is one, from the former source to its replacement."""
    if isinstance(source, GrantSource) and isinstance(former, GrantSource):
        source.adopt_unsaved(former.unsaved)


class UnavailableTokenSource:
    """A token source that always fails.

    Args:
        error: the error that it raises.
    """

    def __init__(self, error: MailError) -> None:
        self._error = error

    async def token(self, *, force: bool = False) -> AccessToken:  # noqa: ARG002 - part of the protocol
        """Raise."""
        raise self._error

    async def forget(self) -> None:
        """Do nothing."""

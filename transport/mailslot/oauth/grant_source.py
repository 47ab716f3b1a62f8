"""The token source of a record: it refreshes the access token in time, in one task at a time, without losing a grant.

A refresh is a transaction: take the lock across tasks and processes, load the grant again, use it if another process
has refreshed it, otherwise refresh it, save it, and only then use it. If the provider rotates refresh tokens, losing a
response loses the grant. So once a request is sent, it is finished and its result is saved even if the caller is
cancelled.
"""

from __future__ import annotations

import logging
import math
import random
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Generic

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import MailError, TokenError
from mailslot.oauth.endpoint_url import host_of
from mailslot.oauth.flow import P
from mailslot.oauth.grant import copied_home_error
from mailslot.oauth.origin import bind_origin, origin_mismatch
from mailslot.oauth.refresh_attempts import RefreshAttempts, is_invalid_grant
from mailslot.oauth.refresh_backoff import CONFIRM_AFTER, RefreshBackoff
from mailslot.oauth.revocation import Revocation, revoke
from mailslot.oauth.settings_digest import settings_digest
from mailslot.oauth.shielding import shielded
from mailslot.oauth.timing import Clocks, TokenTiming, lifetime
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.oauth.token_schedule import TokenSchedule
from mailslot.oauth.unsaved import UnsavedGrant
from mailslot.sasl.credentials import AccessToken

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from mailslot.net.server_gate import ServerGate
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.flow import Flow
    from mailslot.oauth.grant import Grant, GrantStore, RefreshFailure
    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.location import Location
    from mailslot.wire.secret import Secret

_ATTEMPT_TIMEOUT: Final = 90.0
"""Seconds after which a request fails, since it cannot be cancelled."""

logger = logging.getLogger(__name__)


class GrantSource(Generic[P]):
    """The `mailslot.sasl.credentials.TokenSource` of a record; one for each record in a process.

    Args:
        record: the record's name, for the log.
        store: the store of its grant.
        flow: obtains and refreshes grants; if there is a grant, the flow that obtained it.
        client: the OAuth client.
        http: the HTTP client; it must stay open while this is used.
        clocks: the device's clocks.
        locate: returns the home folder's location, since a copied home folder must not refresh; it may block. None to
            refresh anywhere.
        confirm_lock: raises a `MailError` if another process can have taken the store's lock; it is called at the last
            moment before a refresh token is used, and does not block.
        random: returns a number from 0 to 1, so that not all devices act at once.
        gate: says whether the token service may be contacted for a refresh now; None if it always may.
    """

    def __init__(
        self,
        record: str,
        store: GrantStore,
        flow: Flow[P],
        client: OAuthClient,
        http: TokenHttp,
        *,
        clocks: Clocks | None = None,
        locate: Callable[[], Location] | None = None,
        confirm_lock: Callable[[], None] = lambda: None,
        random: Callable[[], float] = random.random,
        gate: ServerGate | None = None,
    ) -> None:
        self._gate = gate
        self._record = record
        self._store = store
        self._flow = flow
        self._client = self._configured_client = client
        self._http = http
        self._clocks = clocks or Clocks()
        self._locate = locate
        self._confirm_lock = confirm_lock
        self._random = random
        self._settings_digest = settings_digest(client, flow.name)
        self._last_given: Secret | None = None
        self._schedule = TokenSchedule(self._clocks, random, lambda: http.skew)
        self._backoff = RefreshBackoff(self._clocks, random)
        self._stored: Grant | None = None
        self._unsaved: UnsavedGrant | None = None

    @property
    def save_error(self) -> MailError | None:
        """Why the newest grant could not be saved and is only in memory; None if it is on the disk."""
        return None if self._unsaved is None else self._unsaved.error

    @property
    def unsaved(self) -> UnsavedGrant | None:
        """The newest grant if it could not be saved and is only in memory; None if it is on the disk."""
        return self._unsaved

    def adopt_unsaved(self, unsaved: UnsavedGrant | None) -> None:
        """Take over the grant that another source of the same record could not save; this source saves it.

        The other source was made for earlier settings, and has the grant only in memory.
        """
        self._unsaved = unsaved

    async def token(self, *, force: bool = False, ignore_backoff: bool = False) -> AccessToken:
        """Return the access token, after refreshing it if it expires soon or a server refused it.

        A token that has not expired is returned even if it could not be refreshed.

        Args:
            force: whether a mail server refused the token that was returned last. If another task or process has
                obtained a newer one, that is returned; otherwise it is refreshed, after a delay if the refused token
                itself came from a forced refresh.
            ignore_backoff: whether to ask the provider even during the backoff after a failure, at a person's request.

        Raises:
            MailError: cause `token_not_retrieved`, `token_not_renewable`, or that of the failed refresh; or the store
                cannot be used. A failure that only a new grant or other settings can end is stored, and raised again
                without a request.
        """
        last_given = self._last_given
        grant = self._newest(await self._load())
        refused = (last_given or grant.access_token) if force else None
        if self._unsaved is None and not self._schedule.is_due(grant, refused):
            return self._access_token(grant)
        try:
            async with self._store.lock():
                return self._access_token(await self._refresh_if_due(refused, ignore_backoff=ignore_backoff))
        except MailError as error:
            grant = self._newest(await self._load())
            if not self._schedule.is_usable(grant, refused):
                raise
            logger.info("%s: the token was not refreshed, and is used while it lasts: %s", self._record, error)
            return self._access_token(grant)

    async def refresh_if_idle(self) -> bool:
        """Refresh a grant that was not used for a week, so that it does not expire; call this from time to time.

        Returns:
            whether a refresh was due.

        Raises:
            MailError: as for `token`.
        """
        stored = await self._load()
        if stored is None or (self._unsaved is None and not self._schedule.is_idle(self._newest(stored))):
            return False
        await self.token()
        return True

    async def seconds_until_refresh(self, *, in_use: bool) -> float:
        """Return after how many seconds the stored grant is to be refreshed; infinity for never, or without one.

        After a failure, these are the seconds until the provider may be asked again.

        Args:
            in_use: whether to refresh it before its access token expires; otherwise only if not used for a while.

        Raises:
            MailError: it cannot be read.
        """
        grant = await self._store.load()
        if grant is None:
            return math.inf
        seconds = self._schedule.seconds_until_refresh(grant, in_use=in_use)
        failure = self._relevant_failure(grant)
        return seconds if failure is None else max(seconds, self._backoff.remaining(failure))

    async def obtain(self, person: P) -> Grant:
        """Obtain a new grant and store it in place of the old one.

        Args:
            person: the person who signs in.

        Raises:
            MailError: no grant was obtained, or it could not be saved; the old one is unchanged.
        """
        # The provider may have moved its endpoints since they were discovered.
        self._client = self._configured_client
        client = await self._discovered_client()
        grant = await self._flow.obtain(client, self._http, person)
        return await shielded(
            partial(self._save_new, replace(bind_origin(grant, client), settings=self._settings_digest))
        )

    async def forget(self) -> None:
        """Delete the grant, and revoke it at the provider; see `delete`."""
        await self.delete()

    async def delete(self) -> Revocation:
        """Revoke the grant at the provider if possible, and delete it here.

        Returns:
            whether the provider was told.

        Raises:
            MailError: it could not be deleted here.
        """
        async with self._store.lock():
            try:
                stored = await self._load()
                if stored is None:
                    return Revocation(notified=False, sentence="There was no token.")
                grant = self._newest(stored)
                if copied_home_error(grant, await self._location()) is not None:
                    sentence = "The provider was not told: the token is in use where this home folder was copied from."
                    return Revocation(notified=False, sentence=sentence)
                return await revoke(grant, await self._discovered_client(), self._http)
            except MailError as error:
                return Revocation(notified=False, sentence=f"The provider was not told: {error}")
            finally:
                await shielded(self._delete_stored)

    async def _load(self) -> Grant | None:
        """Return the stored grant; if it cannot be read, the grant in memory, if there is one."""
        try:
            return await self._store.load()
        except MailError:
            if self._unsaved is None:
                raise
            return self._unsaved.stored

    def _newest(self, stored: Grant | None) -> Grant:
        if stored is None:
            raise TokenError("No token has been obtained yet.", cause="token_not_retrieved")
        unsaved = self._unsaved
        return unsaved.grant if unsaved is not None and unsaved.is_newer_than(stored) else stored

    def _access_token(self, grant: Grant) -> AccessToken:
        if grant.access_token is None:
            raise TokenError("The token has not been fetched yet.", cause="token_not_retrieved")
        self._last_given = grant.access_token
        return AccessToken(grant.access_token, grant.expires_at)

    async def _refresh_if_due(self, refused: Secret | None, *, ignore_backoff: bool) -> Grant:
        """Under the lock, save an unsaved grant, use one that another process has stored, or refresh."""
        self._stored = await self._load()
        grant = self._newest(self._stored)
        if self._unsaved is not None:
            if self._unsaved.is_newer_than(self._stored):
                await shielded(partial(self._save, grant))
            else:
                self._unsaved = None
        if not self._schedule.is_due(grant, refused):
            return grant
        if (copied := copied_home_error(grant, await self._location())) is not None:
            raise copied
        forced = refused is not None and grant.access_token == refused
        if (
            not ignore_backoff
            and (remembered := self._backoff.remembered_error(grant, self._settings_digest)) is not None
        ):
            raise remembered
        return await self._refresh(grant, replace(grant, forced=grant.forced + 1 if forced else 0))

    async def _refresh(self, grant: Grant, requested: Grant) -> Grant:
        """Under the lock, request a new access token.

        If the provider rejects the refresh token for the first time, it is asked once more.
        """
        refresh, failure = RefreshAttempts(self._request, requested, self._clocks), self._relevant_failure(grant)
        try:
            if failure is not None and failure.unconfirmed:
                await self._clocks.sleep(self._backoff.remaining(failure))
            try:
                return await refresh.with_newest()
            except TokenServiceError as error:
                if not is_invalid_grant(error):
                    raise
                refusal = error
            if failure is None or not (failure.unconfirmed or failure.cause == refusal.cause):
                await shielded(partial(self._save_failure, self._backoff.unconfirmed_failure(refusal)))
                await self._clocks.sleep(CONFIRM_AFTER)
                try:
                    return await refresh.with_newest()
                except TokenServiceError as error:
                    if not is_invalid_grant(error):
                        raise
            return await refresh.with_previous(refusal)
        except TokenError as error:
            if not isinstance(error, TokenServiceError) or error.error is None:
                # No token service has answered, perhaps because the provider has moved it: discover it again.
                self._client = self._configured_client
            await shielded(partial(self._note_failure, error))
            raise

    async def _request(self, grant: Grant) -> Grant:
        return await shielded(partial(self._request_and_save, grant))

    async def _request_and_save(self, requested: Grant) -> Grant:
        here = await self._location()
        # The lifetime begins when the token is issued, which is after the request and before the response.
        issued, issued_at = self._clocks.monotonic(), self._clocks.wall()
        refreshed: Grant | None = None
        try:
            with anyio.move_on_after(_ATTEMPT_TIMEOUT):
                async with self._attempt():
                    client = await self._discovered_client()
                    if (refusal := origin_mismatch(requested, client.provider)) is not None:
                        raise refusal
                    # A process that stood still may go on here, when another has used the refresh token up.
                    self._confirm_lock()
                    refreshed = bind_origin(await self._flow.refresh(client, self._http, requested), client)
        except TokenServiceError as error:
            if (rotated := requested.with_refresh_token(error.refresh_token)) is not requested:
                await self._save(replace(rotated, settings=self._settings_digest))
            raise
        if refreshed is None:
            raise TokenServiceError(
                f"The token service did not finish its answer within {_ATTEMPT_TIMEOUT:.0f} seconds.",
                cause="token_service_unreachable",
                remedy=Remedy.WAIT,
                response_lost=True,
            )
        seconds = lifetime(refreshed)
        refreshed = requested.refreshed(
            refreshed,
            issued_at=issued_at,
            expires_at=None if seconds is None else issued_at + seconds,
            settings=self._settings_digest,
            location=here,
        )
        self._schedule.record(refreshed, TokenTiming.from_lifetime(issued, seconds, self._random()))
        await self._save(refreshed)
        logger.info("%s: the token was refreshed", self._record)
        return refreshed

    def _attempt(self) -> AbstractAsyncContextManager[None]:
        endpoints = self._client.provider.endpoints
        server = host_of(endpoints.token or endpoints.issuer or "").lower()
        return self._gate.attempt(server) if self._gate is not None and server else nullcontext()

    async def _location(self) -> Location | None:
        return None if self._locate is None else await run_sync(self._locate)

    async def _discovered_client(self) -> OAuthClient:
        if self._client.provider.needs_discovery:
            from mailslot.oauth.discovery import complete_provider  # noqa: PLC0415 - it loads authlib, and is rarely needed

            provider = await complete_provider(self._client.provider, self._http)
            self._client = replace(self._client, provider=provider)
        return self._client

    async def _save(self, grant: Grant) -> None:
        """Under the lock, save the grant; if that fails, keep it in memory to be saved as soon as possible."""
        try:
            await self._store.save(grant)
        except MailError as error:
            logger.error(  # noqa: TRY400 - a full disk is not a bug and needs no traceback
                "%s: what has changed of the token is in memory only, until it can be written: %s", self._record, error
            )
            self._unsaved = UnsavedGrant(self._stored, grant, error)
        else:
            self._stored, self._unsaved = grant, None

    async def _save_new(self, grant: Grant) -> Grant:
        async with self._store.lock():
            grant = replace(grant, location=await self._location())
            await self._store.save(grant)
            self._stored, self._unsaved = grant, None
            self._schedule.record(
                grant, TokenTiming.from_lifetime(self._clocks.monotonic(), lifetime(grant), self._random())
            )
        return grant

    async def _delete_stored(self) -> None:
        self._unsaved = self._last_given = None
        await self._store.delete()

    def _relevant_failure(self, grant: Grant) -> RefreshFailure | None:
        """Return why the last refresh failed, if it was with the current settings."""
        return grant.failure if grant.settings == self._settings_digest else None

    async def _note_failure(self, error: TokenError) -> None:
        """Under the lock, store why a refresh failed; tokens are kept."""
        logger.warning("%s: the token could not be refreshed (%s): %s", self._record, error.cause, error)
        await self._save_failure(self._backoff.next_failure(self._relevant_failure(self._newest(self._stored)), error))

    async def _save_failure(self, failure: RefreshFailure) -> None:
        grant = self._newest(self._stored)
        await self._save(replace(grant.with_failure(failure), settings=self._settings_digest))

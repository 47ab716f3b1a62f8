"""A token source made from an authlib client, for programs that already have one."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import anyio
import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.base_client.errors import InvalidTokenError

from mailslot.errors import InputError, TokenError
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.response_body import parse_json_object
from mailslot.oauth.shielding import shielded
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError, classify_error
from mailslot.oauth.transport_errors import transport_error
from mailslot.sasl.credentials import AccessToken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.wire.secret import Secret

_EXPIRED: Final = 0
_FAILURES: Final = (AuthlibBaseError, httpx2.HTTPError, httpx2.InvalidURL, ValueError)

logger = logging.getLogger(__name__)


class AuthlibClient(Protocol):
    """The members of `authlib.integrations.httpx_client.AsyncOAuth2Client` that are used here."""

    token: Any
    metadata: dict[str, Any]
    update_token: Callable[..., Awaitable[None]] | None

    async def ensure_active_token(self, token: Any) -> None:  # noqa: ANN401 - authlib is untyped
        """Refresh the token if it has expired, under the client's own lock, and await `update_token`."""

    async def fetch_token(self, url: str | None = None, **kwargs: Any) -> Any:  # noqa: ANN401 - authlib is untyped
        """Request a new token from the token endpoint."""

    async def revoke_token(self, url: str, **kwargs: Any) -> Any:  # noqa: ANN401 - authlib is untyped
        """Revoke a token (RFC 7009)."""


class AuthlibSource:
    """A `mailslot.TokenSource` that uses an authlib client, on asyncio and trio.

    The client remains the caller's. Its `token` is used until it is about to expire. It is then refreshed under the
    client's own lock, one refresh at a time, and passed to its `update_token`. A refresh that has begun is finished
    even if the caller is cancelled, so that no rotated refresh token is lost. If `update_token` raises, the new token
    is used from memory, and passed to `update_token` again at the next call of `token`.

    Args:
        client: an `AsyncOAuth2Client` with a `token_endpoint`, and either a `token` that has a refresh token or
            ``grant_type="client_credentials"``.
    """

    def __init__(self, client: AuthlibClient) -> None:
        self._client = client
        self._lock = anyio.Lock()
        self._last_given: Secret | None = None
        self._unsaved: dict[str, Any] | None = None  # the arguments of `update_token` for the previous token

    async def token(self, *, force: bool = False) -> AccessToken:
        """Return an access token; a new one if the current one is about to expire.

        Args:
            force: whether the mail server refused the last one. If the client has obtained another one since then, that
                is returned.

        Raises:
            TokenError: there is none: cause `token_not_retrieved` without a token, `token_not_renewable` without a
                refresh token, otherwise the cause of the provider's refusal or failure.
        """
        async with self._lock:
            await shielded(partial(self._ensure_token, force=force))
            token = _access_token(self._client.token)
            if token is None:
                raise self._unreadable_response("there is no usable access token in it")
            self._last_given = token.value
            return token

    async def forget(self) -> None:
        """Drop the client's token, and revoke it if the client knows a `revocation_endpoint`."""
        async with self._lock:
            current, self._client.token, self._unsaved = self._client.token, None, None
            endpoint = self._client.metadata.get("revocation_endpoint")
            if current and endpoint:
                token = current.get("refresh_token") or current["access_token"]
                try:
                    response = await self._client.revoke_token(endpoint, token=token)
                except _FAILURES as error:
                    raise self._token_error(error) from error
                if not response.is_success:
                    raise classify_error(
                        TokenServiceResponse(response.status_code, parse_json_object(response.content), host=self._host)
                    )

    async def _ensure_token(self, *, force: bool) -> None:
        client, current = self._client, self._client.token
        if self._unsaved is not None:
            await self._save(**self._unsaved)
        try:
            if not current:
                await self._fetch_first()
            else:
                await self._refresh(current, expired=force and self._last_given == current.get("access_token"))
        except Exception as error:
            # If the token is a new one, `update_token` has failed, since authlib awaits it last.
            if client.token is current:
                if isinstance(error, _FAILURES):
                    raise self._token_error(error) from error
                raise
            previous = "refresh_token" if (current or {}).get("refresh_token") else "access_token"
            self._note_unsaved(error, {previous: current[previous]} if current else {})

    async def _refresh(self, current: Any, *, expired: bool) -> None:  # noqa: ANN401 - authlib is untyped
        expires_at = current.get("expires_at")
        if expired or _access_token(current) is None:
            current["expires_at"] = _EXPIRED
        try:
            await self._client.ensure_active_token(current)
        finally:
            if current.get("expires_at") == _EXPIRED:
                current["expires_at"] = expires_at

    async def _fetch_first(self) -> None:
        if self._client.metadata.get("grant_type") != "client_credentials":
            raise TokenError("The authlib client has no token.", cause="token_not_retrieved")
        token = await self._client.fetch_token(grant_type="client_credentials")
        if self._client.update_token is not None:
            await self._client.update_token(token)

    async def _save(self, **previous: Any) -> None:  # noqa: ANN401 - authlib is untyped
        try:
            if self._client.token and self._client.update_token is not None:
                await self._client.update_token(self._client.token, **previous)
        except Exception as error:  # noqa: BLE001 - the owner's function may raise anything
            self._note_unsaved(error, previous)
        else:
            self._unsaved = None

    def _note_unsaved(self, error: Exception, previous: dict[str, Any]) -> None:
        logger.error("The new token is in memory only: update_token raised %s", type(error).__name__)
        self._unsaved = previous

    @property
    def _host(self) -> str:
        return urlsplit(str(self._client.metadata.get("token_endpoint", ""))).hostname or ""

    def _token_error(self, error: Exception) -> TokenError:
        host = self._host
        if isinstance(error, InvalidTokenError):
            return TokenError(
                "The token has expired and cannot be refreshed: the authlib client has no refresh token.",
                cause="token_not_renewable",
            )
        if isinstance(error, AuthlibBaseError):
            # authlib drops the status; a refusal with an `error` has status 400 (RFC 6749 section 5.2).
            refusal = {"error": error.error, "error_description": error.description}
            return classify_error(TokenServiceResponse(400, refusal, host=host), "refresh_token")
        if isinstance(error, httpx2.HTTPStatusError):
            return classify_error(TokenServiceResponse(error.response.status_code, None, host=host), "refresh_token")
        if isinstance(error, httpx2.HTTPError):
            return transport_error(error, host)
        return self._unreadable_response(type(error).__name__)

    def _unreadable_response(self, detail: str) -> TokenServiceError:
        return TokenServiceError(
            f"What the token service {self._host} answered could not be read.",
            cause="token_service_unreachable",
            remedy=Remedy.WAIT,
            detail=detail,
            response_lost=True,
        )


def _access_token(token: Any) -> AccessToken | None:  # noqa: ANN401 - authlib is untyped
    """Return the access token in authlib's dict; None if it is not usable at a mail server."""
    value, expires_at = token.get("access_token"), token.get("expires_at")
    try:
        return AccessToken(value, expires_at) if isinstance(value, str) else None
    except InputError:
        return None

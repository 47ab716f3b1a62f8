"""Signing in by OpenID Connect: authorization code with PKCE, state and nonce, and the checks of the ID token.

Nothing is stored while a person is at the provider. State, nonce and verifier are computed from the session's id, which
is secret, and a random value in the state. So they are valid in one browser only, any process of the panel goes on with
a sign-in that another has begun, and nobody can displace another's sign-in.

Signing out at the provider follows OpenID Connect RP-Initiated Logout 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlencode

import anyio
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from mailslot.errors import InputError, MailError, TokenError
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.discovery import complete_provider
from mailslot.oauth.providers import custom_provider
from mailslot.wire.secret import Secret
from mailslot_plugins.tokens.authorization import (
    SIGN_IN_TIMEOUT,
    AttemptSecrets,
    AuthorizationAttempt,
    sign_in_incomplete_error,
)

with warnings.catch_warnings():  # importing authlib.deprecate changes the process's filters
    from authlib.oidc.core import claims as oidc_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.oauth.http import TokenHttp
    from mailslot_plugins.panel.fleet.settings import OpenIdSettings

logger = logging.getLogger(__name__)

_CodeIDToken: Final[Any] = oidc_claims.CodeIDToken  # its types are only partly known

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "RS384", "PS384", "ES384", "RS512", "PS512", "ES512", "EdDSA")
"""Signatures by a key that only the provider has (RFC 7518 section 3.1, RFC 8037)."""

_METADATA_LIFETIME: Final = 3600.0
"""Seconds after which the provider's metadata and keys are read again."""

_RETRY_AFTER: Final = 5.0
"""Seconds after which an unreachable provider is tried again; until then, its error is raised at once."""

_KEYS_AT_EARLIEST: Final = 30.0
"""Seconds after which the keys are read again because of an unknown key."""

_LEEWAY: Final = 120
"""Seconds by which the provider's clock and ours may differ."""

_LONGEST_HINT: Final = 4096
"""Characters of an ID token in an address; many servers take no address of more than 8 kB."""


class Begun(NamedTuple):
    """A pending sign-in.

    Attributes:
        secrets: its state, verifier and nonce.
        next_path: the page that the person wanted.
    """

    secrets: AttemptSecrets
    next_path: str


class Identified(NamedTuple):
    """A person who has come back from the provider.

    Attributes:
        claims: the claims of their ID token, verified.
        id_token: the ID token.
    """

    claims: Mapping[str, Any]
    id_token: Secret


class SignInStates:
    """Makes the states of sign-ins and sign-outs, and recognises them.

    Args:
        now: the time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def begin(self, session: str, next_path: str) -> Begun:
        """Begin a sign-in.

        Args:
            session: the id of the session of the browser.
            next_path: the page to show afterwards.
        """
        document = json.dumps([secrets.token_urlsafe(24), int(self._now()), next_path]).encode()
        return self._begun(session, base64.urlsafe_b64encode(document).decode().rstrip("="), next_path)

    def find(self, session: str, state: str) -> Begun | None:
        """Return the pending sign-in of a session with a state; None if there is none, or it has expired."""
        head = state.partition(".")[0]
        if not state.isascii() or not hmac.compare_digest(state, self._state(session, head)):
            return None
        try:
            _, began_at, next_path = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
            is_recent = abs(self._now() - began_at) < SIGN_IN_TIMEOUT
        except (ValueError, TypeError, RecursionError):
            return None  # whoever has the session has made it
        return self._begun(session, head, str(next_path)) if is_recent else None

    def sign_out(self, session: str) -> str:
        """Return the state with which the browser comes back after signing out, in a session."""
        return self._derived("sign-out", session, "")

    def _begun(self, session: str, head: str, next_path: str) -> Begun:
        found = AttemptSecrets(
            Secret(self._state(session, head)),
            Secret(self._derived("verifier", session, head)),
            Secret(self._derived("nonce", session, head)),
        )
        return Begun(found, next_path)

    def _state(self, session: str, head: str) -> str:
        return f"{head}.{self._derived('state', session, head)}"

    def _derived(self, purpose: str, session: str, head: str) -> str:
        octets = hmac.digest(session.encode(), f"{purpose}\0{head}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(octets).decode().rstrip("=")


class OpenIdProvider:
    """The provider at which staff sign in.

    Args:
        settings: the settings of the provider.
        redirect_uri: the redirect URI.
        signed_out_uri: the URI to which it redirects after signing out.
        http: the HTTP client.
        monotonic: seconds of a monotonic clock.
        now: the time in seconds since 1970.
    """

    def __init__(
        self,
        settings: OpenIdSettings,
        redirect_uri: str,
        signed_out_uri: str,
        http: TokenHttp,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._signed_out_uri = signed_out_uri
        self._http = http
        self._monotonic = monotonic
        self._now = now
        self._client = OAuthClient(
            custom_provider(issuer=settings.issuer),
            settings.client_id,
            account="",
            scopes=settings.scopes,
            client_secret=settings.client_secret,
        )
        self._known: tuple[float, OAuthClient] | None = None
        self._failed: tuple[float, MailError] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._lock = anyio.Lock()

    async def address(self, begun: Begun) -> str:
        """Return the address of the authorization request at the provider.

        Raises:
            MailError: the provider cannot be reached, or its metadata cannot be used.
        """
        return AuthorizationAttempt(await self._discovered(), self._redirect_uri, begun.secrets).url

    async def identify(self, begun: Begun, parameters: Mapping[str, str]) -> Identified:
        """Exchange the authorization response for an ID token, verify it, and return the person.

        Args:
            begun: the sign-in.
            parameters: the parameters of the authorization response, whose state was checked.

        Raises:
            TokenError: the sign-in was refused, or the ID token is not valid.
            MailError: the provider cannot be reached.
        """
        client = await self._discovered()
        attempt = AuthorizationAttempt(client, self._redirect_uri, begun.secrets)
        response = await attempt.redeem(attempt.code(parameters), self._http)
        if response.id_token is None:
            raise sign_in_incomplete_error("The provider has sent no ID token, so nobody knows who has signed in.")
        token = response.id_token
        try:
            return self._verified(token, await self._key_set(client), begun)
        except JoseError as error:
            if self._keys is not None and self._monotonic() - self._keys[0] < _KEYS_AT_EARLIEST:
                raise _invalid(error) from error
        # The provider may have got a new key.
        self._keys = None
        try:
            return self._verified(token, await self._key_set(client), begun)
        except JoseError as error:
            raise _invalid(error) from error

    async def sign_out_address(self, id_token: Secret | None, state: str) -> str | None:
        """Return the address at which the browser signs out at the provider; None if there is none to go to.

        Args:
            id_token: the ID token with which the person has signed in.
            state: the state with which the browser is to come back.
        """
        if self._settings.sign_out != "provider":
            return None
        try:
            endpoint = (await self._discovered()).provider.endpoints.end_session
        except MailError as error:
            logger.warning("Nobody can sign out at the provider: %s", error, extra={"cause": error.cause})
            return None
        if endpoint is None:
            return None
        parameters = {
            "client_id": self._settings.client_id,
            "post_logout_redirect_uri": self._signed_out_uri,
            "state": state,
        }
        if id_token is not None and len(id_token) <= _LONGEST_HINT:
            parameters["id_token_hint"] = id_token.reveal()
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"

    def _verified(self, id_token: Secret, key_set: KeySet, begun: Begun) -> Identified:
        """Verify an ID token (OpenID Connect Core section 3.1.3.7)."""
        try:
            token = jwt.decode(id_token.reveal(), key_set, algorithms=ALGORITHMS)
        except (ValueError, TypeError) as error:
            raise _invalid(error) from error
        required = {"iss": self._settings.issuer, "aud": self._settings.client_id}
        found = _CodeIDToken(
            token.claims,
            token.header,
            options={name: {"essential": True, "value": value} for name, value in required.items()},
            params={"client_id": self._settings.client_id, "nonce": begun.secrets.nonce.reveal()},
        )
        found.validate(int(self._now()), _LEEWAY)
        if not isinstance(token.claims["sub"], str):
            raise _invalid(TypeError("sub"))
        return Identified(token.claims, id_token)

    async def _discovered(self) -> OAuthClient:
        """Return the client with the provider's endpoints."""
        async with self._lock:
            if self._known is None or self._monotonic() - self._known[0] > _METADATA_LIFETIME:
                if self._failed is not None and self._monotonic() - self._failed[0] < _RETRY_AFTER:
                    raise self._failed[1]
                try:
                    provider = await complete_provider(self._client.provider, self._http)
                except MailError as error:
                    self._failed = self._monotonic(), error
                    raise
                self._known, self._failed = (self._monotonic(), replace(self._client, provider=provider)), None
            return self._known[1]

    async def _key_set(self, client: OAuthClient) -> KeySet:
        async with self._lock:
            if self._keys is None or self._monotonic() - self._keys[0] > _METADATA_LIFETIME:
                address = client.provider.endpoints.jwks
                if address is None:
                    raise InputError(
                        f"The issuer {self._settings.issuer} names no keys (jwks_uri), so nobody can sign in.",
                        stage="token",
                        cause="not_configured",
                    )
                response = await self._http.get(address)
                try:
                    found = KeySet.import_key_set(cast("Any", response.json or {}))
                except (JoseError, ValueError, TypeError, KeyError) as error:
                    raise TokenError(
                        f"The keys of {self._settings.issuer} cannot be used.",
                        cause="token_service_busy",
                        retryable=True,
                        detail=f"HTTP {response.status}, {type(error).__name__}",
                    ) from error
                self._keys = self._monotonic(), found
            return self._keys[1]


def _invalid(error: Exception) -> TokenError:
    return sign_in_incomplete_error(
        "The answer to the sign-in is not valid, so it is not used.", f"{type(error).__name__}: {error}"
    )

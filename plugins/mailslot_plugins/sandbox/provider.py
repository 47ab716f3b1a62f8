"""The authorization server without HTTP: clients, grants and tokens."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.plugin import AccessToken, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Refusal = Literal["token", "unavailable"]
Rotation = Literal["none", "lax", "strict"]

OPENID_SCOPES: Final = frozenset({"openid", "profile", "email", "offline_access"})
"""Scopes that every client may request in addition (OpenID Connect Core sections 5.4 and 11)."""

# entra-docs reference-error-codes.md
_BLOCKED_SIGN_IN: Final = ("access_denied", "AADSTS530035: Access has been blocked by security defaults.")
_BLOCKED_REFRESH: Final = (
    "invalid_grant",
    "AADSTS530036: The refresh token is invalid due to authentication flow checks by Conditional Access.",
)


class GrantError(Exception):
    """The token endpoint refuses a request.

    Attributes:
        error: the code (RFC 6749 section 5.2).
        description: a sentence for the developer.
        status: the HTTP status.
    """

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client.

    Attributes:
        id: its client identifier.
        secret: its secret; None for a public client (RFC 6749 section 2.1).
        mailboxes: the mailboxes that it may access without a user's consent (client credentials, service account).
        key: the public key, PEM, of its assertions (RFC 7523); None if it makes none.
    """

    id: str
    secret: Secret | None = None
    mailboxes: frozenset[str] = frozenset()
    key: str | None = None


@dataclass(slots=True)
class Grant:
    """The right of a client to act for a user or for itself.

    Attributes:
        client: the client.
        subject: the user, or the client itself.
        mailboxes: the mailboxes that it gives access to.
        scopes: the granted scopes.
        alive: whether it is still valid.
        by_device_code: whether the user signed in with a device code.
    """

    client: Client
    subject: str
    mailboxes: frozenset[str]
    scopes: frozenset[str]
    alive: bool = True
    by_device_code: bool = False


@dataclass(slots=True)
class IssuedToken:
    """An access token that was issued.

    Attributes:
        token: the access token.
        grant: its grant.
        scopes: its scopes, some or all of the grant's.
        expires_at: its expiry, in seconds since the epoch.
        refresh_token: the refresh token issued with it; None for none.
        id_token: the ID token; None if it was not requested.
    """

    token: AccessToken
    grant: Grant
    scopes: frozenset[str]
    expires_at: float
    refresh_token: Secret | None = None
    id_token: Secret | None = None


class Provider:
    """An authorization server without HTTP.

    Args:
        issuer: its address.
        scopes: the scopes of its mail service; also the default of a request without scopes.
        clock: the time, in seconds since the epoch.

    Attributes:
        clients: the registered clients, by identifier.
        available: False to fail every check as temporarily unavailable.
        lifetime: the lifetime of access tokens from the token endpoint, in seconds.
        rotation: how a refresh changes the refresh token: ``none`` keeps it; ``lax`` issues a new one, and the old one
            stays valid (Entra); with ``strict`` the old one is used up, and using it again revokes the whole grant
            (RFC 9700 section 4.14.2).
        device_code_blocked: whether a policy blocks device codes as Entra's do: nobody can sign in with one, and grants
            that began with one are no longer refreshed, but stay alive.
        clock_ahead: seconds by which its clock is ahead.
    """

    def __init__(self, issuer: str, scopes: Iterable[str], *, clock: Callable[[], float] = time.time) -> None:
        self.issuer = issuer
        self.scopes = frozenset(scopes)
        self.clients: dict[str, Client] = {}
        self.available = True
        self.lifetime = 3600.0
        self.rotation: Rotation = "none"
        self.device_code_blocked = False
        self.clock_ahead = 0.0
        self._clock = clock
        self._issued: dict[str, IssuedToken] = {}
        self._grants: dict[str, Grant] = {}
        self._used_refresh_tokens: set[str] = set()
        self._key = secrets.token_bytes(32)

    def now(self) -> float:
        """The time by its own clock, in seconds since the epoch."""
        return self._clock() + self.clock_ahead

    def register(
        self,
        client_id: str,
        secret: str | Secret | None = None,
        mailboxes: Iterable[str] = (),
        *,
        key: str | None = None,
    ) -> Client:
        """Register a client; without a secret and a key it is a public client."""
        client = Client(
            client_id,
            None if secret is None else Secret(secret),
            frozenset(map(str.lower, mailboxes)),
            key,
        )
        self.clients[client_id] = client
        return client

    def issue(
        self,
        user: str,
        *,
        scopes: Iterable[str] | None = None,
        lifetime: float | None = None,
        jwt: bool = False,
        size: int = 0,
    ) -> AccessToken:
        """Issue an access token as if `user` had just signed in.

        Args:
            user: the mailbox that it gives access to.
            scopes: its scopes; all by default.
            lifetime: seconds; negative for an expired token.
            jwt: a JSON Web Token with readable claims instead of an opaque string.
            size: at least this many characters.
        """
        granted = self.scopes if scopes is None else frozenset(scopes)
        grant = Grant(Client("sandbox"), user, frozenset({user.lower()}), granted)
        return self._issue(grant, granted, lifetime, jwt=jwt, size=size).token

    def consent(self, user: str, client: Client, scopes: Iterable[str] | None = None) -> Secret:
        """Record the consent of `user` for `client`, and return the refresh token."""
        granted = self.scopes if scopes is None else frozenset(scopes)
        return self._new_refresh_token(Grant(client, user, frozenset({user.lower()}), granted))

    def complete_sign_in(
        self,
        user: str,
        client: Client,
        requested: Iterable[str],
        *,
        nonce: str | None = None,
        by_device_code: bool = False,
    ) -> IssuedToken:
        """Issue the tokens of a finished sign-in: an access token, and those that OpenID scopes request.

        Args:
            user: who signed in.
            client: the client.
            requested: the scopes, including OpenID scopes.
            nonce: the nonce of the ID token.
            by_device_code: whether the user entered a device code.
        """
        if by_device_code and self.device_code_blocked:
            raise GrantError(*_BLOCKED_SIGN_IN)
        scopes = frozenset(requested)
        grant = Grant(client, user, frozenset({user.lower()}), scopes - OPENID_SCOPES, by_device_code=by_device_code)
        issued = self._issue(grant, grant.scopes)
        if "offline_access" in scopes:
            issued.refresh_token = self._new_refresh_token(grant)
        if "openid" in scopes:
            claims = {"aud": client.id, "exp": int(issued.expires_at), **({"nonce": nonce} if nonce else {})}
            issued.id_token = Secret(self._sign_jwt(grant, claims))
        return issued

    def client_credentials(self, client: Client, scope: str) -> IssuedToken:
        """Issue a token for the client credentials grant (RFC 6749 section 4.4); ``/.default`` requests all scopes."""
        if client.secret is None and client.key is None:
            raise GrantError("unauthorized_client", "A public client has no grant of its own.")
        grant = Grant(client, client.id, client.mailboxes, self.scopes)
        return self._issue_within(grant, "" if scope.endswith("/.default") else scope)

    def issue_delegated(self, client: Client, user: str, scope: str) -> IssuedToken:
        """Issue a token for a service account with access to a user's mailbox (RFC 7523 section 2.1)."""
        if user.lower() not in client.mailboxes:
            raise GrantError(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for "
                "any of the scopes requested.",
                401,
            )
        return self._issue_within(Grant(client, user, frozenset({user.lower()}), self.scopes), scope)

    def refresh(self, client: Client, refresh_token: str, scope: str) -> IssuedToken:
        """Refresh an access token (RFC 6749 section 6); `rotation` decides about the refresh token."""
        grant = self._grants.get(refresh_token)
        if grant is not None and refresh_token in self._used_refresh_tokens:
            grant.alive = False
        if grant is None or not grant.alive or grant.client != client:
            raise GrantError("invalid_grant", "The refresh token is invalid, expired or revoked.")
        if grant.by_device_code and self.device_code_blocked:
            raise GrantError(*_BLOCKED_REFRESH)
        issued = self._issue_within(grant, scope)
        issued.refresh_token = Secret(refresh_token) if self.rotation == "none" else self._new_refresh_token(grant)
        if self.rotation == "strict":
            self._used_refresh_tokens.add(refresh_token)
        return issued

    def expire(self, token: AccessToken) -> None:
        """Expire an access token now."""
        self._issued[token.value.reveal()].expires_at = self.now()

    def revoke(self, token: AccessToken | Secret | str, client: Client | None = None) -> None:
        """Revoke an access token, or a refresh token with all tokens of its grant (RFC 7009 section 2.1).

        Args:
            token: the token; an unknown one is ignored.
            client: the client that it must belong to; None for any.
        """
        value = (token.value if isinstance(token, AccessToken) else Secret(token)).reveal()
        issued, grant = self._issued.get(value), self._grants.get(value)
        if issued is not None and client in {None, issued.grant.client}:
            del self._issued[value]
        if grant is not None and client in {None, grant.client}:
            grant.alive = False

    def find(self, value: str) -> IssuedToken | None:
        """Return a valid access token; None if it is unknown, expired or revoked."""
        issued = self._issued.get(value)
        if issued is None or not issued.grant.alive or issued.expires_at <= self.now():
            return None
        return issued

    def check(self, value: str, user: str, scope: str) -> Refusal | None:
        """Return why a mail server must refuse `user` with this token; None if it is valid."""
        if not self.available:
            return "unavailable"
        issued = self.find(value)
        if issued is None or scope not in issued.scopes:
            return "token"
        return None if user.lower() in issued.grant.mailboxes else "token"

    def _new_refresh_token(self, grant: Grant) -> Secret:
        refresh_token = Secret(secrets.token_urlsafe(32))
        self._grants[refresh_token.reveal()] = grant
        return refresh_token

    def _issue_within(self, grant: Grant, scope: str) -> IssuedToken:
        requested = frozenset(scope.split()) or grant.scopes
        if not requested <= grant.scopes:
            raise GrantError("invalid_scope", "The requested scope exceeds the grant.")
        return self._issue(grant, requested)

    def _issue(
        self,
        grant: Grant,
        scopes: frozenset[str],
        lifetime: float | None = None,
        *,
        jwt: bool = False,
        size: int = 0,
    ) -> IssuedToken:
        expires_at = self.now() + (self.lifetime if lifetime is None else lifetime)
        value = self._jwt(grant, scopes, expires_at, size) if jwt else secrets.token_urlsafe(32)
        value += "x" * (size - len(value))
        issued = IssuedToken(AccessToken(value, expires_at), grant, scopes, expires_at)
        self._issued[value] = issued
        return issued

    def _jwt(self, grant: Grant, scopes: frozenset[str], expires_at: float, size: int) -> str:
        claims = {
            "client_id": grant.client.id,
            "scope": " ".join(sorted(scopes)),
            "exp": int(expires_at),
            "jti": secrets.token_urlsafe(8),
            "padding": "x" * (size * 3 // 4),
        }
        return self._sign_jwt(grant, claims)

    def _sign_jwt(self, grant: Grant, claims: Mapping[str, object]) -> str:
        identity = {"iss": self.issuer, "sub": grant.subject, "email": grant.subject, "iat": int(self.now())}
        parts = [
            _base64url(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "HS256"}, {**identity, **claims})
        ]
        signed = ".".join(parts)
        return f"{signed}.{_base64url(hmac.digest(self._key, signed.encode(), 'sha256'))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""The authorization server's memory: who may act for whom, with which tokens, until when."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.sasl.credentials import AccessToken
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Refusal = Literal["token", "unavailable"]
Rotation = Literal["none", "lax", "strict"]

OPENID_SCOPES: Final = frozenset({"openid", "profile", "email", "offline_access"})
"""What every client may ask for besides (OpenID Connect Core sections 5.4 and 11)."""


class GrantError(Exception):
    """A request that the token endpoint refuses.

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
    """An application that is registered.

    Attributes:
        id: its client identifier.
        secret: its secret; None for a public client (RFC 6749 section 2.1).
        mailboxes: the mailboxes that it may open without anybody's consent (client credentials, service account).
        key: the public key, PEM, that its assertions are checked with (RFC 7523); None where it makes none.
    """

    id: str
    secret: Secret | None = None
    mailboxes: frozenset[str] = frozenset()
    key: str | None = None


@dataclass(slots=True)
class Grant:
    """That a client may act for a user, or for itself; a renewal token stands for it.

    Attributes:
        client: the client.
        subject: whose sign-in it was: a user, or the client itself.
        mailboxes: the mailboxes that it opens.
        scopes: what was granted.
        alive: whether it still holds.
    """

    client: Client
    subject: str
    mailboxes: frozenset[str]
    scopes: frozenset[str]
    alive: bool = True


@dataclass(slots=True)
class Issued:
    """An access token that was issued.

    Attributes:
        token: the token as its holder got it.
        grant: what it rests on.
        scopes: what it is good for, some or all of the grant's.
        expires_at: when it ends, in seconds since the epoch.
        renewal: the renewal token that is given with it; None for none.
        id_token: who signed in, for the client; None where it was not asked for.
    """

    token: AccessToken
    grant: Grant
    scopes: frozenset[str]
    expires_at: float
    renewal: Secret | None = None
    id_token: Secret | None = None


class Provider:
    """An authorization server without its HTTP face.

    Args:
        issuer: its address.
        scopes: every scope of its mail service; also what is granted where nothing is asked for.
        clock: the time, in seconds since the epoch.

    Attributes:
        clients: the registered applications, by identifier.
        available: False makes every check answer that it cannot tell.
        lifetime: seconds that an access token lives from the token endpoint.
        rotation: what a renewal does to the renewal token: ``none`` leaves it; ``lax`` gives a new one, and the old
            one stays good (Entra); with ``strict`` the old one is used up, and using it again ends all that came of
            the sign-in (RFC 9700 section 4.14.2).
        ahead: seconds that its clock is ahead of the true time.
    """

    def __init__(self, issuer: str, scopes: Iterable[str], *, clock: Callable[[], float] = time.time) -> None:
        self.issuer = issuer
        self.scopes = frozenset(scopes)
        self.clients: dict[str, Client] = {}
        self.available = True
        self.lifetime = 3600.0
        self.rotation: Rotation = "none"
        self.ahead = 0.0
        self._clock = clock
        self._issued: dict[str, Issued] = {}
        self._grants: dict[str, Grant] = {}
        self._used: set[str] = set()
        self._key = secrets.token_bytes(32)

    def now(self) -> float:
        """The time by its own clock, in seconds since the epoch."""
        return self._clock() + self.ahead

    def register(
        self,
        client_id: str,
        secret: str | Secret | None = None,
        mailboxes: Iterable[str] = (),
        *,
        key: str | None = None,
    ) -> Client:
        """Register an application; without a secret and a key it is a public client."""
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
            user: the mailbox that it opens.
            scopes: what it is good for; everything by default.
            lifetime: seconds; negative for one that has expired.
            jwt: a JSON Web Token with readable claims instead of an opaque string.
            size: at least this many characters.
        """
        granted = self.scopes if scopes is None else frozenset(scopes)
        grant = Grant(Client("sandbox"), user, frozenset({user.lower()}), granted)
        return self._issue(grant, granted, lifetime, jwt=jwt, size=size).token

    def consent(self, user: str, client: Client, scopes: Iterable[str] | None = None) -> Secret:
        """Record that `user` lets `client` act for them, and return the renewal token."""
        granted = self.scopes if scopes is None else frozenset(scopes)
        return self._renewal(Grant(client, user, frozenset({user.lower()}), granted))

    def signed_in(self, user: str, client: Client, asked: Iterable[str], *, nonce: str | None = None) -> Issued:
        """Give what a sign-in comes to: an access token, and what OpenID's scopes ask for besides.

        Args:
            user: who signed in.
            client: for whom.
            asked: the scopes, OpenID's too.
            nonce: what the id token is to repeat.
        """
        scopes = frozenset(asked)
        grant = Grant(client, user, frozenset({user.lower()}), scopes - OPENID_SCOPES)
        issued = self._issue(grant, grant.scopes)
        if "offline_access" in scopes:
            issued.renewal = self._renewal(grant)
        if "openid" in scopes:
            claims = {"aud": client.id, "exp": int(issued.expires_at), **({"nonce": nonce} if nonce else {})}
            issued.id_token = Secret(self._signed(grant, claims))
        return issued

    def client_credentials(self, client: Client, scope: str) -> Issued:
        """Give a client a token of its own (RFC 6749 section 4.4); ``/.default`` asks for all."""
        if client.secret is None and client.key is None:
            raise GrantError("unauthorized_client", "A public client has no grant of its own.")
        grant = Grant(client, client.id, client.mailboxes, self.scopes)
        return self._redeem(grant, "" if scope.endswith("/.default") else scope)

    def act_for(self, client: Client, user: str, scope: str) -> Issued:
        """Give a service account a token that opens somebody's mailbox (RFC 7523 section 2.1)."""
        if user.lower() not in client.mailboxes:
            raise GrantError(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for "
                "any of the scopes requested.",
                401,
            )
        return self._redeem(Grant(client, user, frozenset({user.lower()}), self.scopes), scope)

    def refresh(self, client: Client, renewal: str, scope: str) -> Issued:
        """Renew (RFC 6749 section 6), with what `rotation` says of the renewal token."""
        grant = self._grants.get(renewal)
        if grant is not None and renewal in self._used:
            grant.alive = False
        if grant is None or not grant.alive or grant.client != client:
            raise GrantError("invalid_grant", "The refresh token is invalid, expired or revoked.")
        issued = self._redeem(grant, scope)
        issued.renewal = Secret(renewal) if self.rotation == "none" else self._renewal(grant)
        if self.rotation == "strict":
            self._used.add(renewal)
        return issued

    def expire(self, token: AccessToken) -> None:
        """Let an access token end now."""
        self._issued[token.value.reveal()].expires_at = self.now()

    def revoke(self, token: AccessToken | Secret | str, client: Client | None = None) -> None:
        """End an access token, or a renewal token with all that came of it (RFC 7009 section 2.1).

        Args:
            token: the token; one that is not known changes nothing.
            client: whose it has to be; None for anybody's.
        """
        value = (token.value if isinstance(token, AccessToken) else Secret(token)).reveal()
        issued, grant = self._issued.get(value), self._grants.get(value)
        if issued is not None and client in {None, issued.grant.client}:
            del self._issued[value]
        if grant is not None and client in {None, grant.client}:
            grant.alive = False

    def find(self, value: str) -> Issued | None:
        """Return what is known of an access token that is good now; None for any other."""
        issued = self._issued.get(value)
        if issued is None or not issued.grant.alive or issued.expires_at <= self.now():
            return None
        return issued

    def check(self, value: str, user: str, scope: str) -> Refusal | None:
        """Return why a mail server must not let `user` in with this token; None where it may."""
        if not self.available:
            return "unavailable"
        issued = self.find(value)
        if issued is None or scope not in issued.scopes:
            return "token"
        return None if user.lower() in issued.grant.mailboxes else "token"

    def _renewal(self, grant: Grant) -> Secret:
        renewal = Secret(secrets.token_urlsafe(32))
        self._grants[renewal.reveal()] = grant
        return renewal

    def _redeem(self, grant: Grant, scope: str) -> Issued:
        asked = frozenset(scope.split()) or grant.scopes
        if not asked <= grant.scopes:
            raise GrantError("invalid_scope", "More was asked for than was granted.")
        return self._issue(grant, asked)

    def _issue(
        self,
        grant: Grant,
        scopes: frozenset[str],
        lifetime: float | None = None,
        *,
        jwt: bool = False,
        size: int = 0,
    ) -> Issued:
        expires_at = self.now() + (self.lifetime if lifetime is None else lifetime)
        value = self._jwt(grant, scopes, expires_at, size) if jwt else secrets.token_urlsafe(32)
        value += "x" * (size - len(value))
        issued = Issued(AccessToken(value, expires_at), grant, scopes, expires_at)
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
        return self._signed(grant, claims)

    def _signed(self, grant: Grant, claims: Mapping[str, object]) -> str:
        who = {"iss": self.issuer, "sub": grant.subject, "email": grant.subject, "iat": int(self.now())}
        parts = [_part(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "HS256"}, {**who, **claims})]
        signed = ".".join(parts)
        return f"{signed}.{_part(hmac.digest(self._key, signed.encode(), 'sha256'))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

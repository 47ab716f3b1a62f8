"""Pending authorizations: authorization codes and device codes, without HTTP."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot_plugins.sandbox.provider import OPENID_SCOPES, GrantError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot_plugins.sandbox.provider import Client, IssuedToken, Provider

CODE_LIFETIME: Final = 60.0
"""The lifetime of an authorization code, in seconds."""

_USER_CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so that no words come of it (RFC 8628 section 6.1)


@dataclass(slots=True)
class AuthorizationCode:
    """An issued authorization code (RFC 6749 section 4.1.2).

    Attributes:
        client: the client.
        user: the user who signed in.
        scopes: the granted scopes.
        redirect_uri: the redirect URI.
        challenge: the S256 code challenge (RFC 7636 section 4.2).
        nonce: the nonce of the ID token; None for none.
        expires_at: its expiry.
        issued: the tokens that it was redeemed for; None before.
    """

    client: Client
    user: str
    scopes: frozenset[str]
    redirect_uri: str
    challenge: str
    nonce: str | None
    expires_at: float
    issued: IssuedToken | None = None


@dataclass(slots=True)
class DeviceAuthorization:
    """An issued device code (RFC 8628 section 3.2).

    Attributes:
        client: the client.
        code: the device code.
        user_code: the code that the user enters.
        scopes: the requested scopes.
        expires_at: its expiry.
        interval: the least seconds between two polls.
        polled_at: the time of the last poll.
        user: the user who signed in; None before.
        denied: whether the user declined.
        redeemed: whether its tokens were issued.
    """

    client: Client
    code: str
    user_code: str
    scopes: frozenset[str]
    expires_at: float
    interval: float
    polled_at: float
    user: str | None = None
    denied: bool = False
    redeemed: bool = False


class PendingAuthorizations:
    """The pending authorizations of one provider.

    Attributes:
        interval: the least seconds between two polls of a device.
        device_lifetime: the lifetime of a device code, in seconds.
        devices: the device authorizations, oldest first.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._codes: dict[str, AuthorizationCode] = {}
        self.interval = 5.0
        self.device_lifetime = 900.0
        self.devices: list[DeviceAuthorization] = []

    def check_scopes(self, requested: str) -> frozenset[str]:
        """Return the requested scopes; with all scopes of the mail service if none of them was requested.

        Raises:
            GrantError: a scope is unknown.
        """
        scopes = frozenset(requested.split())
        if not scopes <= self._provider.scopes | OPENID_SCOPES:
            raise GrantError("invalid_scope", "A scope is not known.")
        return scopes if scopes - OPENID_SCOPES else scopes | self._provider.scopes

    def authorize(
        self,
        user: str,
        client: Client,
        scopes: Iterable[str],
        *,
        redirect_uri: str,
        challenge: str,
        nonce: str | None = None,
    ) -> str:
        """Record a user's sign-in and consent, and return the authorization code."""
        code = secrets.token_urlsafe(32)
        expires_at = self._provider.now() + CODE_LIFETIME
        self._codes[code] = AuthorizationCode(
            client, user, frozenset(scopes), redirect_uri, challenge, nonce, expires_at
        )
        return code

    def redeem(self, client: Client, code: str, redirect_uri: str, verifier: str) -> IssuedToken:
        """Exchange an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

        A code that is used again revokes the tokens of its first use.

        Raises:
            GrantError: it is unknown, another client's, expired, already redeemed, or of another request.
        """
        known = self._codes.get(code)
        if known is not None and known.issued is not None:
            known.issued.grant.alive = False
        if (
            known is None
            or known.issued is not None
            or known.client != client
            or known.redirect_uri != redirect_uri
            or known.challenge != _s256(verifier)
            or known.expires_at <= self._provider.now()
        ):
            raise GrantError("invalid_grant", "The authorization code is invalid or expired.")
        known.issued = self._provider.complete_sign_in(known.user, client, known.scopes, nonce=known.nonce)
        return known.issued

    def authorize_device(self, client: Client, scope: str) -> DeviceAuthorization:
        """Issue a device code (RFC 8628 section 3.2)."""
        now = self._provider.now()
        device = DeviceAuthorization(
            client,
            secrets.token_urlsafe(32),
            "-".join("".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(4)) for _ in range(2)),
            self.check_scopes(scope),
            now + self.device_lifetime,
            self.interval,
            now,
        )
        self.devices.append(device)
        return device

    def find(self, user_code: str) -> DeviceAuthorization | None:
        """Return the pending device for a user code, in upper or lower case, with or without its dash."""
        wanted = _normalize(user_code)
        for device in self.devices:
            waiting = device.user is None and not device.denied and self._provider.now() < device.expires_at
            if waiting and _normalize(device.user_code) == wanted:
                return device
        return None

    def redeem_device_code(self, client: Client, device_code: str) -> IssuedToken:
        """Handle a device's poll (RFC 8628 section 3.5).

        Raises:
            GrantError: the authorization is pending, declined or expired, or was polled too often.
        """
        now = self._provider.now()
        found = [device for device in self.devices if device.code == device_code and device.client == client]
        if not found or found[0].redeemed:
            raise GrantError("invalid_grant", "The device code is not known.")
        device = found[0]
        early = now - device.polled_at < device.interval * 0.9  # network delays vary
        device.polled_at = now
        if device.denied:
            raise GrantError("access_denied", "The person declined.")
        if now >= device.expires_at:
            raise GrantError("expired_token", "The device code has expired.")
        if early:
            device.interval += 5
            raise GrantError("slow_down", "You poll too often.")
        if device.user is None:
            raise GrantError("authorization_pending", "The person has not finished yet.")
        device.redeemed = True
        return self._provider.complete_sign_in(device.user, client, device.scopes, by_device_code=True)


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _normalize(code: str) -> str:
    return "".join(filter(str.isalnum, code.upper()))

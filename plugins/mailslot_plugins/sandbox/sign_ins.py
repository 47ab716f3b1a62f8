"""Sign-ins that are under way: authorization codes and device codes, without their HTTP face."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot_plugins.sandbox.provider import OPENID_SCOPES, GrantError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot_plugins.sandbox.provider import Client, Issued, Provider

CODE_LIFETIME: Final = 60.0
"""Seconds in which an authorization code is to be redeemed."""

_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so that no words come of it (RFC 8628 section 6.1)


@dataclass(slots=True)
class Code:
    """An authorization code that was given out (RFC 6749 section 4.1.2).

    Attributes:
        client: for whom.
        user: who signed in.
        scopes: what was granted.
        redirect_uri: where it was sent.
        challenge: the S256 code challenge (RFC 7636 section 4.2).
        nonce: what the id token is to repeat; None for nothing.
        expires_at: when it ends.
        issued: what it was redeemed for; None before.
    """

    client: Client
    user: str
    scopes: frozenset[str]
    redirect_uri: str
    challenge: str
    nonce: str | None
    expires_at: float
    issued: Issued | None = None


@dataclass(slots=True)
class Device:
    """A device code that was given out (RFC 8628 section 3.2).

    Attributes:
        client: for whom.
        code: the device code.
        user_code: what the person enters.
        scopes: what was asked for.
        expires_at: when it ends.
        interval: seconds that must lie between two questions.
        asked_at: when it was asked for last.
        user: who signed in; None before.
        denied: whether they declined.
        redeemed: whether its token was fetched.
    """

    client: Client
    code: str
    user_code: str
    scopes: frozenset[str]
    expires_at: float
    interval: float
    asked_at: float
    user: str | None = None
    denied: bool = False
    redeemed: bool = False


class SignIns:
    """What persons are doing at one provider.

    Attributes:
        interval: seconds that a device has to wait between two questions.
        device_lifetime: seconds that a device code lives.
        devices: those that were given a code, oldest first.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._codes: dict[str, Code] = {}
        self.interval = 5.0
        self.device_lifetime = 900.0
        self.devices: list[Device] = []

    def check_scopes(self, asked: str) -> frozenset[str]:
        """Return the scopes that were asked for; all of the mail service where none of its were.

        Raises:
            GrantError: one of them is not known.
        """
        scopes = frozenset(asked.split())
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
        """Record that a user signed in and agreed, and return the authorization code."""
        code = secrets.token_urlsafe(32)
        expires_at = self._provider.now() + CODE_LIFETIME
        self._codes[code] = Code(client, user, frozenset(scopes), redirect_uri, challenge, nonce, expires_at)
        return code

    def redeem(self, client: Client, code: str, redirect_uri: str, verifier: str) -> Issued:
        """Exchange an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

        A code that comes a second time ends what came of the first.

        Raises:
            GrantError: it is not known, not the client's, has ended, was redeemed, or belongs to another request.
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
        known.issued = self._provider.signed_in(known.user, client, known.scopes, nonce=known.nonce)
        return known.issued

    def begin(self, client: Client, scope: str) -> Device:
        """Give out a device code (RFC 8628 section 3.2)."""
        now = self._provider.now()
        device = Device(
            client,
            secrets.token_urlsafe(32),
            "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(2)),
            self.check_scopes(scope),
            now + self.device_lifetime,
            self.interval,
            now,
        )
        self.devices.append(device)
        return device

    def find(self, user_code: str) -> Device | None:
        """Return the device that waits under a code, typed in any case and with or without its dash."""
        wanted = _plain(user_code)
        for device in self.devices:
            waiting = device.user is None and not device.denied and self._provider.now() < device.expires_at
            if waiting and _plain(device.user_code) == wanted:
                return device
        return None

    def fetch(self, client: Client, device_code: str) -> Issued:
        """Answer a device's question (RFC 8628 section 3.5).

        Raises:
            GrantError: the person is not done, has declined, or it was asked too often or too late.
        """
        now = self._provider.now()
        found = [device for device in self.devices if device.code == device_code and device.client == client]
        if not found or found[0].redeemed:
            raise GrantError("invalid_grant", "The device code is not known.")
        device = found[0]
        early = now - device.asked_at < device.interval * 0.9  # the way here takes less time one time than another
        device.asked_at = now
        if device.denied:
            raise GrantError("access_denied", "The person declined.")
        if now >= device.expires_at:
            raise GrantError("expired_token", "The device code has expired.")
        if early:
            device.interval += 5
            raise GrantError("slow_down", "You ask too often.")
        if device.user is None:
            raise GrantError("authorization_pending", "The person is not done yet.")
        device.redeemed = True
        return self._provider.signed_in(device.user, client, device.scopes)


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _plain(code: str) -> str:
    return "".join(filter(str.isalnum, code.upper()))

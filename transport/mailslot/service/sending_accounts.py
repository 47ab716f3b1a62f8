"""Sending accounts, whose quota is shared by all records that use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.oauth.providers import Limits
from mailslot.service.sending_quota import SendingQuota

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.spool.store import Store

_MAX_CONNECTIONS: Final = 2
"""The maximum connections to an account whose limit is unknown."""


@dataclass(frozen=True, slots=True)
class SendingAccount:
    """An account at a mail server.

    Attributes:
        limits: the provider's limits.
        quota: its sending quota.
        connections: limits its open sessions.
    """

    limits: Limits
    quota: SendingQuota
    connections: anyio.CapacityLimiter


class SendingAccounts:
    """All sending accounts of a device.

    Args:
        store: the store for their counts.
        now: the wall clock.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._accounts: dict[str, SendingAccount] = {}
        self._lock = anyio.Lock()

    async def account(self, profile: ConnectionProfile) -> SendingAccount:
        """Return the account of a connection profile.

        Raises:
            SpoolError: its counts cannot be read.
        """
        limits = Limits() if profile.provider is None else profile.provider.limits
        name = f"{(profile.settings.account or 'nobody').lower()} at {profile.endpoint.host.lower()}"
        # Several records may use it for the first time at once, and must share what is counted.
        async with self._lock:
            known = self._accounts.get(name)
            if known is None or known.limits != limits:
                quota = SendingQuota(limits, self._store, name)
                await quota.load(self._now())
                known = SendingAccount(limits, quota, anyio.CapacityLimiter(limits.connections or _MAX_CONNECTIONS))
                self._accounts[name] = known
            return known

    def shift_clock(self, seconds: float) -> None:
        """Adjust all counts after the wall clock was set forward by `seconds`, or back if negative."""
        for account in self._accounts.values():
            account.quota.shift_clock(seconds)

    async def save(self) -> None:
        """Save all counts.

        Raises:
            SpoolError: they cannot be stored.
        """
        for account in self._accounts.values():
            await account.quota.save(self._now())

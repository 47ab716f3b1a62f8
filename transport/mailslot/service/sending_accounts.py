"""Sending accounts: records that share an account also share its quota."""

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
"""At once to an account of which nothing is known; a device has no more records that send."""


@dataclass(frozen=True, slots=True)
class SendingAccount:
    """An account at a mail server.

    Attributes:
        limits: what its provider allows.
        quota: what it may still send.
        connections: held while a session is open.
    """

    limits: Limits
    quota: SendingQuota
    connections: anyio.CapacityLimiter


class SendingAccounts:
    """All sending accounts of a device.

    Args:
        store: where their counts are kept.
        now: the wall clock.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._accounts: dict[str, SendingAccount] = {}

    async def account(self, profile: ConnectionProfile) -> SendingAccount:
        """Return the account of a connection profile.

        Raises:
            SpoolError: what it has sent cannot be read.
        """
        limits = Limits() if profile.provider is None else profile.provider.limits
        name = f"{(profile.settings.account or 'nobody').lower()} at {profile.endpoint.host.lower()}"
        known = self._accounts.get(name)
        if known is None or known.limits != limits:
            quota = SendingQuota(limits, self._store, name)
            await quota.load(self._now())
            known = SendingAccount(limits, quota, anyio.CapacityLimiter(limits.connections or _MAX_CONNECTIONS))
            self._accounts[name] = known
        return known

    def shift_clock(self, seconds: float) -> None:
        """Follow a wall clock that was set."""
        for account in self._accounts.values():
            account.quota.shift_clock(seconds)

    async def save(self) -> None:
        """Save all counts.

        Raises:
            SpoolError: they cannot be kept.
        """
        for account in self._accounts.values():
            await account.quota.save(self._now())

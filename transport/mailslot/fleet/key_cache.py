"""A cache of unwrapped data keys, so that mail continues while the key service is unavailable.

A key is requested again after `FRESH` seconds. While the service does not respond, or is sealed, a cached key is used
for up to `KEPT` seconds after it was last unwrapped. If the service refuses, the key is removed from the cache at once.
Keys that this process has not unwrapped before cannot be used while the service is unavailable.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from mailslot.errors import MailError
from mailslot.fleet.key_service import KeyServiceError
from mailslot.fleet.master_key import KEPT_UNWRAPPED

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.fleet.master_key import MasterKey, WrappedKey

FRESH: Final = 300.0 - KEPT_UNWRAPPED
"""Seconds for which a cached key is used without a request; its users keep it for a moment longer."""

KEPT: Final = 3600.0 - KEPT_UNWRAPPED
"""Seconds for which a cached key is used while the service is unavailable."""

MOST: Final = 10_000
"""The maximum number of cached keys; those that were unwrapped longest ago are removed first."""

ASK_AGAIN: Final = 15.0
"""Seconds after which an unavailable service is tried again, so that not every tenant's work waits for a timeout."""


class KeyCache:
    """A `MasterKey` with a cache. It is thread-safe.

    Args:
        master: the key in a key service.
        monotonic: returns seconds of a monotonic clock.
    """

    def __init__(self, master: MasterKey, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._master = master
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._kept: OrderedDict[tuple[str, bytes, str], tuple[float, bytes]] = OrderedDict()
        self._away: tuple[float, KeyServiceError] | None = None
        self._refusals = 0

    def newest(self) -> str:
        """Return the name of the newest key."""
        return self._master.newest()

    def has(self, name: str) -> bool:
        """Return whether a name is that of a key of this service."""
        return self._master.has(name)

    def wrap(self, octets: bytes, context: str) -> WrappedKey:
        """Encrypt a data key with the newest key."""
        return self._master.wrap(octets, context)

    def unwrap(self, wrapped: WrappedKey, context: str) -> bytes:
        """Decrypt a data key, or return it from the cache."""
        place = (wrapped.master, wrapped.octets, context)
        asked_at = self._monotonic()
        kept, away, refusals = self._look(place, asked_at)
        if kept is not None and asked_at - kept[0] <= FRESH:
            return kept[1]
        if away is None:
            try:
                octets = self._master.unwrap(wrapped, context)
            except MailError as error:
                if not isinstance(error, KeyServiceError) or not error.is_away:
                    with self._mutex:
                        self._refusals += 1
                        self._kept.pop(place, None)
                    raise
                away = error
                with self._mutex:
                    self._away = self._monotonic() + ASK_AGAIN, error
            else:
                self._keep(place, asked_at, octets, refusals)
                return octets
        if kept is None or asked_at - kept[0] > KEPT:
            raise KeyServiceError(str(away), is_away=True, detail=away.detail)
        return kept[1]

    def _look(
        self, place: tuple[str, bytes, str], now: float
    ) -> tuple[tuple[float, bytes] | None, KeyServiceError | None, int]:
        """Return the cached key, the error of a service that need not be tried now, and its number of refusals."""
        with self._mutex:
            while self._kept and now - next(iter(self._kept.values()))[0] > KEPT:
                self._kept.popitem(last=False)
            kept = self._kept.get(place)
            away = self._away[1] if self._away is not None and now < self._away[0] else None
            return kept, away, self._refusals

    def _keep(self, place: tuple[str, bytes, str], at: float, octets: bytes, refusals: int) -> None:
        with self._mutex:
            self._away = None
            if self._refusals != refusals:
                return  # The answer may be from before a refusal that another thread has got.
            self._kept[place] = at, octets
            self._kept.move_to_end(place)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)

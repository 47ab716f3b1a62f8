"""Data keys that a key service has unwrapped, kept in memory, so that mail goes on while the service is away.

A key is asked for again after `FRESH` seconds. While the service does not answer, or is sealed, a key is given out for
up to `KEPT` seconds after the service has last unwrapped it, and then no more. If the service refuses, the key is
forgotten at once. Keys that this process has not unwrapped before cannot be used while the service is away.
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
"""Seconds for which a key is given out without asking the service; whoever gets it keeps it for a moment longer."""

KEPT: Final = 3600.0 - KEPT_UNWRAPPED
"""Seconds for which a key is given out while the service is away."""

MOST: Final = 10_000
"""The maximum of keys in memory; those that were unwrapped longest ago are forgotten first."""

ASK_AGAIN: Final = 15.0
"""Seconds after which a service that was away is asked again; otherwise each tenant's work would wait for it."""


class KeptKeys:
    """A `MasterKey` that keeps what it has unwrapped. Any number of threads may use it.

    Args:
        master: the key in a key service.
        monotonic: a clock.
    """

    def __init__(self, master: MasterKey, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._master = master
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._kept: OrderedDict[tuple[str, bytes, str], tuple[float, bytes]] = OrderedDict()
        self._away: tuple[float, KeyServiceError] | None = None
        self._refusals = 0

    def newest(self) -> str:
        """Return the name of the key that wraps now."""
        return self._master.newest()

    def has(self, name: str) -> bool:
        """Tell whether a name is that of a key of this service."""
        return self._master.has(name)

    def wrap(self, octets: bytes, context: str) -> WrappedKey:
        """Encrypt a data key with the newest key."""
        return self._master.wrap(octets, context)

    def unwrap(self, wrapped: WrappedKey, context: str) -> bytes:
        """Decrypt a data key, or return it from memory."""
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
        """Return what is kept of a key, the error of a service that need not be asked now, and how often it refused."""
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

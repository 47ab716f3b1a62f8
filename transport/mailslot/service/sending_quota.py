"""The sending quota of an account, which observes a provider's limits before the server enforces them.

Exchange Online delays or refuses messages that exceed its limits, and then blocks the mailbox for a day. The counts
survive restarts. They are saved only every few seconds, so a crash loses the latest.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from mailslot.oauth.providers import Limits
    from mailslot.spool.store import Store

_MINUTE: Final = 60.0
_DAY: Final = 86_400.0
_BUCKET: Final = 600.0
"""Seconds whose messages are counted together."""
_SAVE_INTERVAL: Final = 5.0
_LOOK_AGAIN_AFTER: Final = 1.0
"""Seconds to wait for messages that are being sent, and will use the rest of the quota up."""


class SendingQuota:
    """How much an account may still send. Times are in seconds since 1970.

    Args:
        limits: the provider's limits.
        store: where the counts are stored.
        account: the account's name in the store.
    """

    def __init__(self, limits: Limits, store: Store, account: str) -> None:
        self._limits = limits
        self._store = store
        self._account = account
        self._minute: deque[float] = deque()
        self._day: deque[tuple[float, int, int]] = deque()
        self._saved: float | None = None
        self._under_way: list[int] = []
        """The recipients of each message that is being sent."""

    @property
    def _is_limited(self) -> bool:
        limits = self._limits
        return any((limits.messages_per_minute, limits.messages_per_day, limits.recipients_per_day))

    async def load(self, now: float) -> None:
        """Load the earlier counts.

        Raises:
            SpoolError: they cannot be read.
        """
        if not self._is_limited:
            return
        kept = cast("dict[str, list[list[float]]]", await self._store.get(f"sent {self._account}", {}))
        self._minute.extend(min(at, now) for at, *_ in kept.get("minute", []))
        self._day.extend((min(at, now), int(messages), int(to)) for at, messages, to in kept.get("day", []))

    def wait(self, now: float) -> float:
        """Return the seconds to wait before sending; 0.0 if a message may be sent now."""
        self._forget(now)
        counted = self._wait(self._minute, self._day, now)
        if counted or not self._under_way:
            return counted
        # They count in a moment, unless the server refuses them.
        messages, recipients = len(self._under_way), sum(self._under_way)
        wait = self._wait([*self._minute, *[now] * messages], [*self._day, (now, messages, recipients)], now)
        return min(wait, _LOOK_AGAIN_AFTER)

    def _wait(self, minute: Sequence[float], day: Sequence[tuple[float, int, int]], now: float) -> float:
        limits = self._limits
        waits = [0.0]
        if limits.messages_per_minute and len(minute) >= limits.messages_per_minute:
            waits.append(minute[-limits.messages_per_minute] + _MINUTE - now)
        if limits.messages_per_day:
            waits.append(self._until_below([(at, messages) for at, messages, _ in day], limits.messages_per_day, now))
        if limits.recipients_per_day:
            waits.append(self._until_below([(at, to) for at, _, to in day], limits.recipients_per_day, now))
        return max(waits)

    def remaining_recipients(self, now: float) -> int | None:
        """Return the number of recipients that may still be sent to; None without a limit."""
        most = self._limits.recipients_per_day
        if not most:
            return None
        self._forget(now)
        return max(most - sum(to for _, _, to in self._day) - sum(self._under_way), 0)

    @contextmanager
    def attempt(self, recipients: int) -> Generator[None]:
        """Let a message be observed by others while it is being sent; if it was sent, `count` it within the block."""
        self._under_way.append(recipients)
        try:
            yield
        finally:
            self._under_way.remove(recipients)

    async def count(self, now: float, recipients: int) -> None:
        """Count a message that was sent or may have been sent.

        Raises:
            SpoolError: the count cannot be stored; it is still observed in this process.
        """
        if not self._is_limited:
            return
        self._minute.append(now)
        if self._day and 0 <= now - self._day[-1][0] < _BUCKET:
            at, messages, to = self._day.pop()
            self._day.append((at, messages + 1, to + recipients))
        else:
            self._day.append((now, 1, recipients))
        if self._saved is None or not 0 <= now - self._saved < _SAVE_INTERVAL:
            await self.save(now)

    async def save(self, now: float) -> None:
        """Save the counts.

        Raises:
            SpoolError: they cannot be stored.
        """
        if not self._is_limited:
            return
        self._forget(now)
        self._saved = now
        kept = {"minute": [[at] for at in self._minute], "day": [list(each) for each in self._day]}
        await self._store.put(f"sent {self._account}", kept)

    def shift_clock(self, seconds: float) -> None:
        """Adjust the counts after the wall clock was set forward by `seconds`, or back if negative."""
        self._minute = deque(at + seconds for at in self._minute)
        self._day = deque((at + seconds, messages, to) for at, messages, to in self._day)

    def _forget(self, now: float) -> None:
        while self._minute and self._minute[0] <= now - _MINUTE:
            self._minute.popleft()
        # A bucket counts until its last message is a day old.
        while self._day and self._day[0][0] <= now - _DAY - _BUCKET:
            self._day.popleft()

    @staticmethod
    def _until_below(counted: Sequence[tuple[float, int]], most: int, now: float) -> float:
        left = sum(count for _, count in counted)
        for at, count in counted:
            if left < most:
                break
            left -= count
            if left < most:
                return at + _BUCKET + _DAY - now
        return 0.0

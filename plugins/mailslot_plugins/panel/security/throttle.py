"""Slows down guesses without locking anybody out.

Locking out an address after wrong guesses would also lock out an administrator at the same address. Instead, guesses
take turns: one at a time, and after a few wrong ones with a pause before each. The pause is the same for all addresses,
so having many of them does not help. The next guess is the one with the fewest wrong guesses before it, by address and
then by session, so the administrator's first guess comes before an attacker's hundredth.

Browsers in which the administrator has signed in before do not wait, unless they are wrong often: see
`mailslot_plugins.panel.security.known_browser`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

FREE_GUESSES: Final = 3
"""Wrong guesses before pauses begin."""

PAUSE_STEP: Final = 0.5
"""Seconds that each further wrong guess adds to the pause."""

MAX_PAUSE: Final = 2.0
"""The longest pause in seconds."""

FORGET_AFTER: Final = 900.0
"""Seconds after which wrong guesses are forgotten."""

TRUSTED_GUESSES: Final = 10
"""Wrong guesses from a known browser before it has to wait like any other."""

MAX_WAITING: Final = 32
"""Guesses that may wait for their turn."""

MAX_WAITING_PER_ADDRESS: Final = 16
"""Guesses from one address that may wait for their turn."""

MAX_WAIT: Final = 60.0
"""Seconds that a guess waits at most; a client with many wrong guesses may never get its turn."""

MAX_REMEMBERED: Final = 4096
"""Addresses, and sessions, whose wrong guesses are counted."""


class ThrottledError(Exception):
    """There are too many guesses at present.

    Attributes:
        seconds: after how many seconds to try again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = max(1, round(seconds + 0.5))


class WrongGuesses:
    """The number of recent wrong guesses of each client."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, tuple[int, float]] = {}

    def __getitem__(self, who: str) -> int:
        count, last = self._counts.get(who, (0, 0.0))
        return count if self._monotonic() - last < FORGET_AFTER else 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, who: str) -> None:
        """Count a wrong guess."""
        count = self[who] + 1
        self._counts.pop(who, None)
        self._counts[who] = (count, self._monotonic())
        if len(self._counts) > MAX_REMEMBERED:
            del self._counts[next(iter(self._counts))]

    def forget(self, who: str) -> None:
        """Forget the wrong guesses of a client."""
        self._counts.pop(who, None)


@dataclass(eq=False, slots=True)
class Guess:
    """A guess that waits for its turn.

    Attributes:
        address: its client network, from `mailslot_plugins.panel.security.addresses.client_network`.
        session: the id of its session.
        began: when it arrived.
        displaced: whether a guess of higher priority has taken its place.
    """

    address: str
    session: str
    began: float
    displaced: bool = False


@dataclass(eq=False, slots=True)
class Throttle:
    """Makes guesses take turns.

    Attributes:
        monotonic: a monotonic clock, in seconds.
        sleep: sleeps for a number of seconds.
        by_address: wrong guesses of each address.
        by_session: wrong guesses of each session.
    """

    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    by_address: WrongGuesses = field(init=False)
    by_session: WrongGuesses = field(init=False)
    _total: WrongGuesses = field(init=False)
    _last: float = field(init=False, default=0.0)
    _waiting: list[Guess] = field(init=False, default_factory=list[Guess])
    _checking: bool = field(init=False, default=False)
    _changed: anyio.Event = field(init=False, default_factory=anyio.Event)

    def __post_init__(self) -> None:
        """Create the counters."""
        self.by_address, self.by_session, self._total = (WrongGuesses(self.monotonic) for _ in range(3))

    @asynccontextmanager
    async def turn(self, address: str, session: str) -> AsyncGenerator[None]:
        """Wait for a turn to guess; in the context, there is no other guess.

        Raises:
            ThrottledError: too many are waiting already, or it has waited too long.
        """
        guess = Guess(address, session, self.monotonic())
        self._admit(guess)
        try:
            await self._wait(guess)
            self._checking = True
            try:
                yield
            finally:
                self._checking, self._last = False, self.monotonic()
        finally:
            if not guess.displaced:
                self._waiting.remove(guess)
            self._notify()

    def count(self, address: str, session: str, *, right: bool) -> None:
        """Count a guess."""
        if right:
            self.by_address.forget(address)
            self.by_session.forget(session)
        else:
            self._total.add("")
            self.by_address.add(address)
            self.by_session.add(session)

    @property
    def pause(self) -> float:
        """The current pause between two guesses, in seconds."""
        beyond = self._total[""] - FREE_GUESSES + 1
        return min(max(0, beyond) * PAUSE_STEP, MAX_PAUSE)

    def _admit(self, guess: Guess) -> None:
        if any(each.session == guess.session for each in self._waiting):
            raise self._too_many()  # a person makes one guess at a time
        of_one = [each for each in self._waiting if each.address == guess.address]
        others = (
            of_one
            if len(of_one) >= MAX_WAITING_PER_ADDRESS
            else self._waiting
            if len(self._waiting) >= MAX_WAITING
            else []
        )
        if others:
            last = max(others, key=self._rank)
            if self._rank(guess) >= self._rank(last):
                raise self._too_many()
            last.displaced = True
            self._waiting.remove(last)
            self._notify()
        self._waiting.append(guess)

    async def _wait(self, guess: Guess) -> None:
        while True:
            if guess.displaced or self.monotonic() - guess.began >= MAX_WAIT:
                raise self._too_many()
            changed = self._changed
            if self._checking or min(self._waiting, key=self._rank) is not guess:
                await changed.wait()
            elif (left := self._last + self.pause - self.monotonic()) > 0:
                await self.sleep(left)
            else:
                return

    def _rank(self, guess: Guess) -> tuple[int, int, float]:
        return self.by_address[guess.address], self.by_session[guess.session], guess.began

    def _too_many(self) -> ThrottledError:
        return ThrottledError(max(1, len(self._waiting)) * self.pause)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

"""Guessing is slowed down, and nobody is locked out.

A lockout of whoever has guessed wrong often would lock out the administrator as well, wherever both come from one
address. So guesses take turns instead: one at a time, and after a few wrong ones with a pause before each, which is one
for all of them, so that a guesser gains nothing by having many addresses. Next is always the guess of whoever has been
wrong least, by address and then by session, so that the administrator's first goes before a guesser's hundredth.

Browsers in which the administrator has signed in before take no turns at all, as long as they are not wrong often: see
`mailslot_plugins.panel.security.known_browser`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

FREE: Final = 3
"""Wrong guesses after which there are pauses."""

STEP: Final = 0.5
"""Seconds by which each further wrong guess makes the pause longer."""

LONGEST: Final = 2.0
"""Seconds that it lasts at most."""

FORGOTTEN: Final = 900.0
"""Seconds after which wrong guesses no longer count."""

TRUSTED: Final = 10
"""Wrong guesses from a known browser before it takes turns like any other."""

WAITING: Final = 32
"""Guesses that wait for their turn."""

WAITING_OF_ONE: Final = 16
"""Of them, guesses from one address."""

PATIENCE: Final = 60.0
"""Seconds that a guess waits at most; those of whoever is wrong always may never have their turn."""

MOST: Final = 4096
"""Addresses, and sessions, that are remembered."""


class WaitError(Exception):
    """Too many guess at present.

    Attributes:
        seconds: after how many of them one may try again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = max(1, round(seconds + 0.5))


class WrongGuesses:
    """How often somebody was wrong lately.

    Args:
        monotonic: a clock that nobody sets, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, tuple[int, float]] = {}

    def __getitem__(self, who: str) -> int:
        count, last = self._counts.get(who, (0, 0.0))
        return count if self._monotonic() - last < FORGOTTEN else 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, who: str) -> None:
        """Count one more."""
        count = self[who] + 1
        self._counts.pop(who, None)
        self._counts[who] = (count, self._monotonic())
        if len(self._counts) > MOST:
            del self._counts[next(iter(self._counts))]

    def forget(self, who: str) -> None:
        """Forget all of somebody."""
        self._counts.pop(who, None)


@dataclass(eq=False, slots=True)
class Guess:
    """A guess that waits for its turn.

    Attributes:
        address: where it comes from, as `mailslot_plugins.panel.security.addresses.neighbourhood` returns it.
        session: the id of its session.
        began: when it came.
        displaced: whether it has lost its place to one that goes before it.
    """

    address: str
    session: str
    began: float
    displaced: bool = False


@dataclass(eq=False, slots=True)
class Throttle:
    """Lets guesses take turns.

    Attributes:
        monotonic: a clock that nobody sets, in seconds.
        sleep: sleeps for so many of them.
        by_address: wrong guesses.
        by_session: wrong guesses.
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
        """Begin with nobody having been wrong."""
        self.by_address, self.by_session, self._total = (WrongGuesses(self.monotonic) for _ in range(3))

    @asynccontextmanager
    async def turn(self, address: str, session: str) -> AsyncGenerator[None]:
        """Wait for somebody's turn to guess; in the context, nobody else has it.

        Args:
            address: where the guess comes from.
            session: the id of its session.

        Raises:
            WaitError: too many wait already, or it has waited too long.
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
        """How many seconds lie between two guesses now."""
        beyond = self._total[""] - FREE + 1
        return min(max(0, beyond) * STEP, LONGEST)

    def _admit(self, guess: Guess) -> None:
        if any(each.session == guess.session for each in self._waiting):
            raise self._too_many()  # a person guesses once at a time
        of_one = [each for each in self._waiting if each.address == guess.address]
        rivals = of_one if len(of_one) >= WAITING_OF_ONE else self._waiting if len(self._waiting) >= WAITING else []
        if rivals:
            last = max(rivals, key=self._rank)
            if self._rank(guess) >= self._rank(last):
                raise self._too_many()
            last.displaced = True
            self._waiting.remove(last)
            self._notify()
        self._waiting.append(guess)

    async def _wait(self, guess: Guess) -> None:
        while True:
            if guess.displaced or self.monotonic() - guess.began >= PATIENCE:
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

    def _too_many(self) -> WaitError:
        return WaitError(max(1, len(self._waiting)) * self.pause)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

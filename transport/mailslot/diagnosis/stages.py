"""The stages of a connection test: which goes on, how long each took, and which failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES: Final = ("resolve", "connect", "tls", "greeting", "capabilities", "token", "sign_in", "probe", "send")
"""Their names, in the order in which they are shown (design, section 5)."""

MAX_NOTE: Final = 200
"""Characters of what is said of a stage."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """A stage.

    Attributes:
        name: one of `STAGES`.
        ok: whether it passed; None while it goes on.
        seconds: how long it has taken.
        note: what there is to say of it; mostly empty.
    """

    name: str
    ok: bool | None
    seconds: float
    note: str = ""


class Stages:
    """Times what goes on. With STARTTLS the wire's order is another than the one shown, and steps come twice.

    Args:
        notify: called whenever a stage begins or ends.
    """

    def __init__(self, notify: Callable[[StageResult], None] | None = None) -> None:
        self._notify = notify
        self._found: dict[str, StageResult] = {}
        self._current: str | None = None
        self._since = 0.0

    @property
    def current(self) -> str:
        """The stage that goes on, or went on last."""
        return self._current or STAGES[0]

    @property
    def results(self) -> tuple[StageResult, ...]:
        """What has been reached, in the order of `STAGES`."""
        return tuple(self._found[name] for name in STAGES if name in self._found)

    def begin(self, name: str) -> None:
        """Let a stage begin, and the one before have passed."""
        if name != self._current:
            self._end(ok=True)
            self._current, self._since = name, time.perf_counter()
            self._put(name, ok=None)

    def note(self, text: str) -> None:
        """Say something of the stage that goes on; a server's words may be in it, and take one line."""
        self._put(self.current, ok=None, note=printable(" ".join(text.split()))[:MAX_NOTE])

    def succeed(self) -> None:
        """Let the last stage have passed."""
        self._end(ok=True)

    def fail(self, name: str) -> None:
        """Let a stage have failed; the one that goes on, if it is another, has passed."""
        if name == self._current and self._since:
            self._end(ok=False)
        else:
            self._end(ok=True)
            self._put(name, ok=False)
        if name == "token":
            # The token is asked for once the server is ready for the sign-in, which then does not take place.
            self._found.pop("sign_in", None)

    def _end(self, *, ok: bool) -> None:
        if self._current is not None and self._since:
            self._put(self._current, ok=ok, seconds=time.perf_counter() - self._since)
            self._since = 0.0

    def _put(self, name: str, *, ok: bool | None, seconds: float = 0.0, note: str = "") -> None:
        before = self._found.get(name)
        if before is not None:
            seconds, note = before.seconds + seconds, note or before.note
        self._found[name] = result = StageResult(name, ok, seconds, note)
        if self._notify is not None:
            self._notify(result)

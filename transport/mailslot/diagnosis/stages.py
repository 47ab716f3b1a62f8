"""The stages of a connection test: which one is running, how long each took, and which failed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES: Final = ("resolve", "connect", "tls", "greeting", "capabilities", "token", "sign_in", "probe", "send")
"""The names of the stages, in the order of display (design, section 5)."""

MAX_NOTE: Final = 200
"""Characters of a stage's note."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """The result of a stage.

    Attributes:
        name: one of `STAGES`.
        ok: whether it passed; None while it is running.
        seconds: how long it has taken.
        note: a remark; mostly empty.
        reached: False if it has to wait for another stage after all, and must not be shown.
    """

    name: str
    ok: bool | None
    seconds: float
    note: str = ""
    reached: bool = True


class Stages:
    """Measures the stages. With STARTTLS their order differs from the order of display, and some come twice."""

    def __init__(self, notify: Callable[[StageResult], None] | None = None) -> None:
        self._notify = notify
        self._results: dict[str, StageResult] = {}
        self._waiting: dict[str, StageResult] = {}
        self._current: str | None = None
        self._began_at = 0.0

    @property
    def current(self) -> str:
        """The running stage, or the last one."""
        return self._current or STAGES[0]

    @property
    def results(self) -> tuple[StageResult, ...]:
        """The stages that were reached, in the order of `STAGES`."""
        return tuple(self._results[name] for name in STAGES if name in self._results)

    def begin(self, name: str) -> None:
        """Begin a stage; the one before it has passed."""
        if name != self._current:
            if (self._current, name) == ("sign_in", "token"):
                self._set_back()
            self._end(ok=True)
            self._current, self._began_at = name, time.perf_counter()
            self._set(name, ok=None)

    def note(self, text: str) -> None:
        """Add a note to the running stage, made one printable line."""
        self._set(self.current, ok=None, note=printable(" ".join(text.split()))[:MAX_NOTE])

    def succeed(self) -> None:
        """Mark the last stage as passed."""
        self._end(ok=True)

    def fail(self, name: str) -> None:
        """Mark a stage as failed; the running one has passed if it is another."""
        if name == self._current and self._began_at:
            self._end(ok=False)
            return
        if (self._current, name) == ("sign_in", "token"):
            self._set_back()
        self._end(ok=True)
        self._set(name, ok=False)

    def _set_back(self) -> None:
        """Have the sign-in wait for the token, which is requested within it; without one it does not take place."""
        began_at, self._began_at = self._began_at, 0.0
        stage = self._results.pop("sign_in")
        spent = time.perf_counter() - began_at if began_at else 0.0
        self._waiting["sign_in"] = replace(stage, seconds=stage.seconds + spent)
        if self._notify is not None:
            self._notify(replace(stage, reached=False))

    def _end(self, *, ok: bool) -> None:
        if self._current is not None and self._began_at:
            self._set(self._current, ok=ok, seconds=time.perf_counter() - self._began_at)
            self._began_at = 0.0

    def _set(self, name: str, *, ok: bool | None, seconds: float = 0.0, note: str = "") -> None:
        previous = self._waiting.pop(name, None) or self._results.get(name)
        if previous is not None:
            seconds, note = previous.seconds + seconds, note or previous.note
        self._results[name] = result = StageResult(name, ok, seconds, note)
        if self._notify is not None:
            self._notify(result)

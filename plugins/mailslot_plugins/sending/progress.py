"""How far a scan or a fax is, for a person at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import ProgressColumn, TaskID

LARGE: Final = 5_000_000
"""Octets from which on accepting a scan takes long enough to be shown."""


class Progress:
    """Bars on standard error, where that is a terminal; nothing anywhere else."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._shown = self._console.is_terminal and not quiet
        self._sending = 0
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def scanned(self, page: int, part: float) -> None:
        """Show how much of a page is scanned, 0.0 to 1.0."""
        if self._task is None:
            self._begin(TextColumn("{task.description}"), BarColumn(), total=1.0)
        self._update(description=f"Scanning page {page}", completed=part)

    def accepting(self, octets: int) -> None:
        """Begin to show how much of a large scan is accepted."""
        self._end()
        if octets >= LARGE:
            self._begin(*_octets(), total=octets, description="Accepting")

    def accepted(self, octets: int) -> None:
        """Show that so many more are."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, octets)

    def sent(self, octets: int, size: int) -> None:
        """Show how much of a large mail is sent."""
        if size >= LARGE:
            if self._sending != size:
                self._end()
                self._begin(*_octets(), total=size, description="Sending")
                self._sending = size
            self._update(description="Sending", completed=octets)

    def waiting(self, what: str) -> None:
        """Show that something takes a while of which nobody knows the end."""
        self._end()
        self._begin(TextColumn("{task.description}"), BarColumn(), total=None, description=what)

    def _begin(self, *columns: ProgressColumn, total: float | None, description: str = "") -> None:
        if self._shown:
            self._bars = Bars(*columns, console=self._console, transient=True)
            self._task = self._bars.add_task(description, total=total)
            self._bars.start()

    def _update(self, *, description: str, completed: float) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, description=description, completed=completed)

    def _end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None


def _octets() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()

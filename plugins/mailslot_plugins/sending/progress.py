"""The progress of a scan or a fax, shown on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import ProgressColumn, TaskID

SHOWN_FROM: Final = 5_000_000
"""Octets; below this size, progress is not worth showing."""


class Progress:
    """Progress bars on standard error if that is a terminal; otherwise nothing."""

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

    def update_scan(self, page: int, fraction: float) -> None:
        """Show the scanned fraction of a page, 0.0 to 1.0."""
        if self._task is None:
            self._begin(TextColumn("{task.description}"), BarColumn(), total=1.0)
        self._update(description=f"Scanning page {page}", completed=fraction)

    def start_accepting(self, octets: int) -> None:
        """Start to show how much of a large scan is accepted."""
        self._end()
        if octets >= SHOWN_FROM:
            self._begin(*_transfer_columns(), total=octets, description="Accepting")

    def add_accepted(self, octets: int) -> None:
        """Show that so many more octets are accepted."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, octets)

    def update_sent(self, octets: int, size: int) -> None:
        """Show how much of a large mail is sent."""
        if size >= SHOWN_FROM:
            if self._sending != size:
                self._end()
                self._begin(*_transfer_columns(), total=size, description="Sending")
                self._sending = size
            self._update(description="Sending", completed=octets)

    def start_waiting(self, what: str) -> None:
        """Show that something takes a while, of unknown length."""
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


def _transfer_columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()

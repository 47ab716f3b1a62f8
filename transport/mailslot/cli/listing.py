"""Lists: a table if it fits the terminal, else a block of lines for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rich.console import Console

_GAP: Final = 2
_LEAST: Final = 16
"""Characters that a wrapped column needs."""


def print_listing(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    wrapped: Collection[str] = (),
    right: Collection[str] = (),
) -> None:
    """Print rows with rich's markup.

    Args:
        console: where to print.
        headings: the headings of the columns; the first column names the thing.
        rows: the cells, in the order of the headings.
        wrapped: the columns that may be wrapped; the others keep one line.
        right: the columns that are aligned to the right.
    """
    from rich.padding import Padding  # noqa: PLC0415 - `--json` does without it
    from rich.table import Table  # noqa: PLC0415 - as above

    used = [at for at, _ in enumerate(headings) if not at or any(row[at] for row in rows)]
    if _fits(console, [headings[at] for at in used], [[row[at] for at in used] for row in rows], wrapped):
        table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="bold underline")
        for at in used:
            justify: Literal["left", "right"] = "right" if headings[at] in right else "left"
            table.add_column(headings[at], no_wrap=headings[at] not in wrapped, overflow="fold", justify=justify)
        for row in rows:
            table.add_row(*(row[at] for at in used))
        console.print(table)
        return
    label = max(len(heading) for heading in headings)
    for number, row in enumerate(rows):
        console.print(f"[bold]{row[0]}[/bold]" if number == 0 else f"\n[bold]{row[0]}[/bold]")
        block = Table.grid(padding=(0, _GAP, 0, 0))
        block.add_column(width=label, style="dim")
        block.add_column(overflow="fold")
        for at in used[1:]:
            if row[at]:
                block.add_row(headings[at], row[at])
        console.print(Padding(block, (0, 0, 0, 2)))


def _fits(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], wrapped: Collection[str]) -> bool:
    return sum(_needed_widths(headings, rows, wrapped)) + _GAP * len(headings) <= console.width


def _needed_widths(headings: Sequence[str], rows: Sequence[Sequence[str]], wrapped: Collection[str]) -> Iterator[int]:
    from rich.text import Text  # noqa: PLC0415 - as above

    for at, heading in enumerate(headings):
        longest = max([len(heading), *(Text.from_markup(row[at]).cell_len for row in rows)])
        yield max(len(heading), min(longest, _LEAST)) if heading in wrapped else longest

"""What was measured, as one table, with the targets and whether each is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.works import Work

TWINS = 1.25
"""The most that asyncio and trio may differ."""

COLUMNS = ("work", "client", "time", "throughput", "memory", "longest gap", "ratio", "target", "reached")


@dataclass
class Row:
    """One client at one work: medians of all runs.

    Attributes:
        work: what was done.
        client: by whom.
        seconds: for all of it.
        messages: how many there were.
        octets: of all of them.
        trips: round trips, where they are what counts.
        memory: peak, in MB; None where it was not measured.
        gap: the longest time that the event loop was kept from other work, in seconds.
        ratio: of mailslot's time, the slower of both backends, to this peer's; of trio's to asyncio's for trio.
        targets: each target, and whether it is reached.
    """

    work: str
    client: str
    seconds: float
    messages: int
    octets: int
    trips: float | None
    memory: float | None
    gap: float | None
    ratio: float | None = None
    targets: dict[str, bool] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """The row as text; `COLUMNS` are its head."""
        if self.trips is not None:
            throughput = f"{self.trips:.2f} round trips"
        elif not self.messages:
            throughput = ""
        elif self.octets > 4_000_000 * min(self.messages, 5):
            throughput = f"{self.octets / self.seconds / 1e6:,.0f} MB/s"
        else:
            throughput = f"{self.messages / self.seconds:,.0f}/s"
        return [
            self.work,
            self.client,
            f"{self.seconds * 1e3:,.0f} ms",
            throughput,
            "" if self.memory is None else f"{self.memory:.1f} MB",
            "" if self.gap is None else f"{self.gap * 1e3:.0f} ms",
            "" if self.ratio is None else f"{self.ratio:.2f}",
            ", ".join(self.targets),
            ", ".join("yes" if reached else "NO" for reached in self.targets.values()),
        ]


def judge(work: Work, rows: list[Row]) -> None:
    """Fill in ratios and targets of the rows of one work."""
    by_client = {row.client: row for row in rows}
    ours = [by_client[client.name] for client in work.clients[:2] if client.name.startswith("mailslot")]
    for row in rows:
        asyncio = by_client.get(row.client.replace(" · trio", " · asyncio"))
        if not row.client.startswith("mailslot"):
            _compare(work, row, ours)
        elif asyncio is not None and asyncio is not row:
            row.ratio = row.seconds / asyncio.seconds
            row.targets[f"1/{TWINS} … {TWINS}"] = 1 / TWINS <= row.ratio <= TWINS
        if row in ours:
            _limit(work, row)


def _compare(work: Work, row: Row, ours: list[Row]) -> None:
    if not ours:
        return
    row.ratio = max(own.seconds for own in ours) / row.seconds
    most = work.ratios.get(row.client)
    if most is not None:
        row.targets[f"≤ {most:.2f}"] = row.ratio <= most
    most = work.ratios.get(f"{row.client}, memory")
    if most is not None and row.memory:
        ratio = max(own.memory or 0 for own in ours) / row.memory
        row.targets[f"memory {ratio:.2f} ≤ {most:.2f}"] = ratio <= most


def _limit(work: Work, row: Row) -> None:
    for name, bound in work.limits.items():
        if name == "memory" and row.memory is not None:
            row.targets[f"≤ {bound:.0f} MB"] = row.memory <= bound
        elif name == "gap" and row.gap is not None:
            row.targets[f"gap ≤ {bound * 1e3:.0f} ms"] = row.gap <= bound
        elif name == "trips" and row.trips is not None:
            row.targets[f"≤ {bound:.2f} round trips"] = row.trips <= bound
        elif name == "rate":
            row.targets[f"≥ {bound:,.0f}/s"] = row.messages / row.seconds >= bound


def middle(runs: list[dict[str, float | None]], key: str) -> float | None:
    """The median of a measured value; None where it was not measured."""
    values = [value for run in runs if (value := run.get(key)) is not None]
    return median(values) if values else None


def show(rows: list[Row]) -> None:
    """Print the table."""
    cells = [row.cells() for row in rows]
    for above, row in reversed(list(pairwise(cells))):
        if row[0] == above[0]:
            row[0] = ""
    try:
        from rich.console import Console  # noqa: PLC0415 - it will do without
        from rich.table import Table  # noqa: PLC0415
    except ImportError:
        widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
        for row in [list(COLUMNS), *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    table = Table(*COLUMNS)
    for row in cells:
        style = "bold red" if "NO" in row[-1] else "green" if row[-1] else None
        table.add_row(*row[:-1], f"[{style}]{row[-1]}[/]" if style else "", end_section=False)
    console = Console()
    console.width = max(console.width, 160)
    console.print(table)

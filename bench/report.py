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

COLUMNS = ("work", "client", "time", "throughput", "memory", "gap", "ratio", "target", "reached")


@dataclass
class Row:
    """One client at one work.

    Attributes:
        work: what was done.
        client: by whom.
        runs: what each run took: ``seconds``, and ``memory`` in MB and ``gap`` in seconds where measured.
        messages: how many there were; 0 where there are none to count.
        octets: of all of them.
        trip: seconds of a round trip, where those are counted; else 0.
        ratio: of mailslot's time, the slower of both backends, to this peer's; of trio's to asyncio's for trio.
        targets: each target, and whether it is reached.
    """

    work: str
    client: str
    runs: list[dict[str, float | None]]
    messages: int
    octets: int
    trip: float
    ratio: float | None = None
    targets: dict[str, bool] = field(default_factory=dict)

    def middle(self, key: str) -> float:
        """The median of a measured value; 0 where it was not measured."""
        return median([value for run in self.runs if (value := run.get(key)) is not None] or [0.0])

    def cells(self) -> list[str]:
        """The row as text; `COLUMNS` are its head."""
        seconds, memory, gap = map(self.middle, ("seconds", "memory", "gap"))
        throughput = f"{self.messages / seconds:,.0f}/s" if self.messages else ""
        if self.trip:
            throughput = f"{seconds / self.trip:.2f} round trips"
        elif self.octets > 1_000_000 * self.messages:
            throughput = f"{self.octets / seconds / 1e6:,.0f} MB/s"
        shown = [f"{memory:.1f} MB" if memory else "", f"{gap * 1e3:.0f} ms" if gap else ""]
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        reached = ["yes" if reached else "NO" for reached in self.targets.values()]
        head = [self.work, self.client, f"{seconds * 1e3:,.0f} ms", throughput]
        return [*head, *shown, ratio, ", ".join(self.targets), ", ".join(reached)]


def judge(work: Work, rows: list[Row]) -> None:
    """Fill in ratios and targets of the rows of one work."""
    by_client = {row.client: row for row in rows}
    ours = [row for row in rows[:2] if row.client.startswith("mailslot")]

    def worst(key: str) -> float:
        return max(row.middle(key) for row in ours)

    for row in rows:
        twin = by_client.get(row.client.replace("· trio", "· asyncio"), row)
        if twin is not row:
            row.ratio = row.middle("seconds") / twin.middle("seconds")
            row.targets[f"1/{TWINS} … {TWINS}"] = 1 / TWINS <= row.ratio <= TWINS
        elif not row.client.startswith("mailslot"):
            row.ratio = worst("seconds") / row.middle("seconds")
        if (most := work.ratios.get(row.client)) is not None and row.ratio is not None:
            row.targets[f"≤ {most:.2f}"] = row.ratio <= most
        if (most := work.ratios.get(f"{row.client}, memory")) is not None:
            row.targets[f"memory ≤ {most:.2f}"] = worst("memory") / row.middle("memory") <= most
    for row in ours:
        seconds = row.middle("seconds")
        found = {
            "MB": row.middle("memory"),
            "gap": row.middle("gap"),
            "trips": seconds / row.trip if row.trip else 0.0,
            "rate": row.messages / seconds,
        }
        for name, bound in work.limits.items():
            sign, reached = ("≥", found[name] >= bound) if name == "rate" else ("≤", found[name] <= bound)
            row.targets[f"{name} {sign} {bound:,g}"] = reached


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
        table.add_row(*row, style="red" if "NO" in row[-1] else None)
    console = Console()
    console.width = max(console.width, 160)
    console.print(table)

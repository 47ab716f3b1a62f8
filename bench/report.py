"""The results as one table, with the targets and whether each is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.scenarios import Scenario

MAX_BACKEND_RATIO = 1.25
"""The maximum ratio between asyncio and trio."""

COLUMNS = ("scenario", "client", "time", "throughput", "memory", "gap", "ratio", "target", "reached")


@dataclass
class Row:
    """The results of one client in one scenario.

    Attributes:
        scenario: the name of the scenario.
        client: the name of the client.
        runs: the values of each run: ``seconds``, and if measured ``memory`` in MB and ``gap`` in seconds.
        messages: the number of messages; 0 if there are none.
        octets: their total size.
        trip: the seconds of a round trip if round trips are counted, else 0.
        ratio: mailslot's time, with the slower backend, divided by this peer's; for trio, divided by asyncio's.
        targets: each target, and whether it is reached.
    """

    scenario: str
    client: str
    runs: list[dict[str, float | None]]
    messages: int
    octets: int
    trip: float
    ratio: float | None = None
    targets: dict[str, bool] = field(default_factory=dict)

    def median_of(self, key: str) -> float:
        """The median of a measured value; 0 where it was not measured."""
        return median([value for run in self.runs if (value := run.get(key)) is not None] or [0.0])

    def cells(self) -> list[str]:
        """The row as text; `COLUMNS` are its head."""
        seconds, memory, gap = map(self.median_of, ("seconds", "memory", "gap"))
        throughput = f"{self.messages / seconds:,.0f}/s" if self.messages else ""
        if self.trip:
            throughput = f"{seconds / self.trip:.2f} round trips"
        elif self.octets > 1_000_000 * self.messages:
            throughput = f"{self.octets / seconds / 1e6:,.0f} MB/s"
        shown = [f"{memory:.1f} MB" if memory else "", f"{gap * 1e3:.0f} ms" if gap else ""]
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        reached = ["yes" if reached else "NO" for reached in self.targets.values()]
        head = [self.scenario, self.client, f"{seconds * 1e3:,.0f} ms", throughput]
        return [*head, *shown, ratio, ", ".join(self.targets), ", ".join(reached)]


def judge(scenario: Scenario, rows: list[Row]) -> None:
    """Set the ratios and targets of the rows of one scenario."""
    by_client = {row.client: row for row in rows}
    ours = [row for row in rows[:2] if row.client.startswith("mailslot")]

    def worst(key: str) -> float:
        return max(row.median_of(key) for row in ours)

    for row in rows:
        asyncio_row = by_client.get(row.client.replace("· trio", "· asyncio"), row)
        if asyncio_row is not row:
            row.ratio = row.median_of("seconds") / asyncio_row.median_of("seconds")
            row.targets[f"1/{MAX_BACKEND_RATIO} … {MAX_BACKEND_RATIO}"] = (
                1 / MAX_BACKEND_RATIO <= row.ratio <= MAX_BACKEND_RATIO
            )
        elif not row.client.startswith("mailslot"):
            row.ratio = worst("seconds") / row.median_of("seconds")
        if (maximum := scenario.ratios.get(row.client)) is not None and row.ratio is not None:
            row.targets[f"≤ {maximum:.2f}"] = row.ratio <= maximum
        if (maximum := scenario.ratios.get(f"{row.client}, memory")) is not None:
            row.targets[f"memory ≤ {maximum:.2f}"] = worst("memory") / row.median_of("memory") <= maximum
    for row in ours:
        seconds = row.median_of("seconds")
        found = {
            "MB": row.median_of("memory"),
            "gap": row.median_of("gap"),
            "trips": seconds / row.trip if row.trip else 0.0,
            "rate": row.messages / seconds,
        }
        for name, bound in scenario.limits.items():
            sign, reached = ("≥", found[name] >= bound) if name == "rate" else ("≤", found[name] <= bound)
            row.targets[f"{name} {sign} {bound:,g}"] = reached


def show(rows: list[Row]) -> None:
    """Print the table."""
    cells = [row.cells() for row in rows]
    for above, row in reversed(list(pairwise(cells))):
        if row[0] == above[0]:
            row[0] = ""
    try:
        from rich.console import Console  # noqa: PLC0415 - optional
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

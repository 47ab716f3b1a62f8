"""Diagrams of state machines, as inline SVG with the colours of the page.

The states are in one column. Beside each state are the events that lead out of it and into it. Transitions to the same
state by the same event share one line, whose arrow ends there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BOX: Final = 150
_EVENTS: Final = 210
"""The width for the names of events."""
_ROW: Final = 20
_GAP: Final = 16
_LANE: Final = 11
_MARGIN: Final = 8
_COLOURS: Final = ("#1f83b4", "#c2571a", "#2c9a4b", "#b8479b", "#8a6fd1", "#a8812a", "#cc4a4a", "#3f9c9c")
"""Each has a contrast of at least 3 against white and against the dark page."""


class Transition(NamedTuple):
    """A transition from one state to another.

    Attributes:
        state: the old state.
        event: the event.
        to: the new state; may be the same.
        refused: whether it is a refusal by the other side; drawn dashed.
    """

    state: str
    event: str
    to: str
    refused: bool = False


@dataclass(slots=True)
class _Line:
    """Transitions to one state that share a line.

    Attributes:
        sources: the states where it begins.
        to: the state where it ends.
        refused: as for `Transition`.
        events: the events, in the order of the table.
        ports: the height at which each source joins it.
        end: the height of the arrow.
        lane: its column, from the left.
    """

    sources: tuple[str, ...]
    to: str
    refused: bool
    events: list[str] = field(default_factory=list[str])
    ports: dict[str, int] = field(default_factory=dict[str, int])
    end: int = 0
    lane: int = 0

    @property
    def label(self) -> str:
        """The names of the events."""
        return ", ".join(self.events)

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest height of the line."""
        heights = (*self.ports.values(), self.end)
        return min(heights), max(heights)


def diagram(title: str, states: Sequence[str], transitions: Iterable[Transition]) -> str:
    """Return a diagram as HTML.

    Args:
        title: the title.
        states: the states from top to bottom.
        transitions: the transitions.
    """
    loops, lines = _lines(transitions)
    boxes, height = _set_heights(states, loops, lines)
    lanes = _assign(lines)
    width = _BOX + _EVENTS + (lanes + 1) * _LANE + 2 * _MARGIN
    parts = [
        f'<svg class="states" role="img" viewBox="0 0 {width} {height}" width="{width}" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(title)}</title>",
        *[_draw_line(line, _COLOURS[number % len(_COLOURS)]) for number, line in enumerate(lines)],
        *[_draw_box(state, top, bottom, loops.get(state, [])) for state, (top, bottom) in boxes.items()],
        "</svg>",
    ]
    return f'<figure class="states">{"".join(parts)}</figure>\n'


def _lines(transitions: Iterable[Transition]) -> tuple[dict[str, list[str]], list[_Line]]:
    """Return the events that do not change a state, by state, and the lines of all other transitions."""
    loops: dict[str, list[str]] = {}
    sources: dict[tuple[str, str, bool], list[str]] = {}
    for each in transitions:
        if each.to == each.state:
            if not each.refused:
                loops.setdefault(each.state, []).append(each.event)
        else:
            sources.setdefault((each.to, each.event, each.refused), []).append(each.state)
    lines: dict[tuple[str, bool, tuple[str, ...]], _Line] = {}
    for (to, event, refused), begin in sources.items():
        key = (to, refused, tuple(begin))
        lines.setdefault(key, _Line(tuple(begin), to, refused)).events.append(event)
    return loops, list(lines.values())


def _set_heights(
    states: Sequence[str], loops: Mapping[str, list[str]], lines: Sequence[_Line]
) -> tuple[dict[str, tuple[int, int]], int]:
    """Set the heights of each line; return the top and bottom of each box, and the total height."""
    boxes: dict[str, tuple[int, int]] = {}
    top = _MARGIN
    for number, state in enumerate(states):
        above = set(states[:number])
        row = top + _ROW // 2 + (_ROW if state in loops else 0)
        # Lines from above arrive at the top, and lines to below leave at the bottom.
        entering = [line for line in lines if line.to == state]
        entering.sort(key=lambda line: not above & {*line.sources})
        for line in entering:
            line.end = row
            row += _ROW
        leaving = [line for line in lines if state in line.sources]
        leaving.sort(key=lambda line: states.index(line.to))
        for line in leaving:
            line.ports[state] = row
            row += _ROW
        bottom = max(row - _ROW // 2, top + _ROW + 4)
        boxes[state] = top, bottom
        top = bottom + _GAP
    return boxes, top - _GAP + _MARGIN


def _assign(lines: Sequence[_Line]) -> int:
    """Assign lanes so that lines do not overlap, the short ones first; return the number of lanes."""
    taken: list[list[tuple[int, int]]] = []
    for line in sorted(lines, key=lambda line: line.span[1] - line.span[0]):
        low, high = line.span
        for number, spans in enumerate(taken):
            if all(high < other_low or other_high < low for other_low, other_high in spans):
                line.lane = number
                spans.append((low, high))
                break
        else:
            line.lane = len(taken)
            taken.append([(low, high)])
    return len(taken)


def _draw_line(line: _Line, colour: str) -> str:
    begin = _MARGIN + _BOX
    lane = begin + _EVENTS + (line.lane + 1) * _LANE
    low, high = line.span
    dashed = ' stroke-dasharray="5 3"' if line.refused else ""
    label = escape(line.label)
    stubs = "".join(f"M{begin} {height}H{lane}" for height in line.ports.values())
    joins = [height for height in line.ports.values() if low < height < high]
    dots = "".join(f'<circle cx="{lane}" cy="{height}" r="2.5" />' for height in joins)
    named = [*((height, f"{label} → {escape(line.to)}") for height in line.ports.values()), (line.end, label)]
    names = "".join(f'<text x="{begin + 14}" y="{height - 4}">{name}</text>' for height, name in named)
    path = f"{stubs}M{lane} {low}V{high}M{lane} {line.end}H{begin + 8}"
    return (
        f'<g fill="{colour}" stroke="{colour}"><path fill="none"{dashed} d="{path}" />'
        f'<path stroke="none" d="M{begin} {line.end}l10 -4v8z" /><g stroke="none">{dots}</g></g>{names}'
    )


def _draw_box(state: str, top: int, bottom: int, loops: Sequence[str]) -> str:
    middle = (top + bottom) // 2
    stays = (
        f'<text x="{_MARGIN + _BOX + 14}" y="{top + _ROW // 2}">⟲ {escape(", ".join(loops))}</text>' if loops else ""
    )
    return (
        f'<rect x="{_MARGIN}" y="{top - 6}" width="{_BOX}" height="{bottom - top + 8}" rx="5" />'
        f'<text class="state" x="{_MARGIN + _BOX // 2}" y="{middle + 3}" text-anchor="middle">{escape(state)}</text>'
        f"{stays}"
    )

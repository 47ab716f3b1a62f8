"""The layout of help texts: columns and paragraphs, as wide as the terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_WIDTH: Final = 100
_MAX_LEFT: Final = 26
"""Characters of the left column; the text of a longer entry begins on the next line."""

_MIN_TEXT: Final = 20
_STEP: Final = re.compile(r" *\w+\. ")
"""The beginning of a step, such as ``1. `` or ``   a. ``."""

_COMMAND: Final = "mailslot "
"""The beginning of a command to type, which must not be wrapped."""


def text_width() -> int:
    """Return how many characters a line of help has."""
    return min(shutil.get_terminal_size().columns, _MAX_WIDTH)


def columns(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a two-column list of names and descriptions."""
    rows = list(rows)
    indent = min(max((len(left) for left, _ in rows), default=0), _MAX_LEFT) + 4
    for left, text in rows:
        first, *more = textwrap.wrap(text, max(text_width() - indent, _MIN_TEXT)) or [""]
        if len(left) > indent - 4:
            yield f"  {left}"
            yield f"{'':{indent}}{first}".rstrip()
        else:
            yield f"  {left:<{indent - 2}}{first}".rstrip()
        yield from (f"{'':{indent}}{line}" for line in more)


def steps(text: str) -> Iterator[str]:
    """Yield the lines of numbered steps; a line that is indented further than its step is a command, not wrapped."""
    waiting, indent = list[str](), 0

    def flush() -> Iterator[str]:
        if waiting:
            yield from textwrap.wrap(" ".join(waiting), text_width(), subsequent_indent=" " * indent) or [""]
            waiting.clear()

    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        marker = _STEP.match(line)
        if marker or not waiting or depth > indent:
            yield from flush()
        if marker:
            indent = marker.end()
            waiting.append(line)
        elif depth > indent:
            yield line
        else:
            waiting.append(line.strip() if waiting else line)
    yield from flush()


def paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of a text; a line that is a command is not wrapped."""
    for number, paragraph in enumerate(filter(None, text.split("\n\n"))):
        if number:
            yield ""
        waiting: list[str] = []
        for line in paragraph.splitlines():
            if line.lstrip().startswith(_COMMAND):
                yield from textwrap.wrap(" ".join(waiting), text_width())
                yield f"  {line.strip()}"
                waiting = []
            else:
                waiting.append(line)
        yield from textwrap.wrap(" ".join(waiting), text_width())

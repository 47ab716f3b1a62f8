"""The layout of a TOML document: the line numbers of its keys and tables, which parsers do not report."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str, ...]

_SIMPLE: Final = r'(?:"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+)'
_KEY: Final = re.compile(rf"{_SIMPLE}(?:[ \t]*\.[ \t]*{_SIMPLE})*")
_BLANK: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a document; line numbers begin at 1.

    Attributes:
        lines: the line of each key and table header, by its full path, such as ``("records", "smtp", "port")``.
        ends: the last line of each table.
    """

    lines: Mapping[Path, int]
    ends: Mapping[Path, int]


def layout(text: str) -> Layout:
    """Return the layout of a document that ``tomllib`` has parsed without error.

    Args:
        text: the document, with LF line ends.
    """
    scan = _Scanner(text)
    scan.document()
    return Layout(scan.lines, scan.ends)


@dataclass(slots=True)
class _Scanner:
    text: str
    at: int = 0
    lines: dict[Path, int] = field(default_factory=dict[Path, int])
    ends: dict[Path, int] = field(default_factory=dict[Path, int])
    breaks: list[int] = field(default_factory=list[int])

    def document(self) -> None:
        self.breaks = [match.start() for match in re.finditer("\n", self.text)]
        table: Path = ()
        while self.skip_blank():
            if self.text[self.at] == "[":
                self.at += 2 if self.text.startswith("[[", self.at) else 1
                self.skip_blank()
                table = self.key(())
                self.skip("]")
                self.skip("]")
            else:
                self.statement(table)
            self.ends[table] = self.line(self.at - 1)

    def statement(self, table: Path) -> None:
        path = self.key(table)
        self.skip("=")
        self.skip_blank()
        self.value(path)

    def value(self, path: Path) -> None:
        opened = self.text[self.at]
        if opened in "[{":
            self.at += 1
            while self.skip_blank() and self.text[self.at] not in "]}":
                if opened == "{":
                    self.statement(path)
                else:
                    self.value(path)
                self.skip(",")
            self.at += 1
            return
        match = _STRING.match(self.text, self.at) if opened in "\"'" else _SCALAR.match(self.text, self.at)
        self.at = match.end() if match else len(self.text)

    def key(self, table: Path) -> Path:
        """Parse a key, record its line and those of the tables that it creates, and return its path."""
        match = _KEY.match(self.text, self.at)
        if match is None:
            self.at = len(self.text)
            return table
        path = table
        for part in _parts(match[0]):
            path = (*path, part)
            self.lines.setdefault(path, self.line(self.at))
        self.at = match.end()
        return path

    def skip_blank(self) -> bool:
        """Skip blanks and comments; return whether anything is left."""
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at < len(self.text)

    def skip(self, sign: str) -> None:
        before = self.at
        self.at = self.at + 1 if self.skip_blank() and self.text[self.at] == sign else before

    def line(self, at: int) -> int:
        return bisect(self.breaks, at - 1) + 1


def _parts(key: str) -> Path:
    """Return the parts of a key, which may be dotted and quoted."""
    parts: list[str] = []
    inner: dict[str, Any] | int = tomllib.loads(f"{key} = 0")
    while isinstance(inner, dict):
        [(part, inner)] = inner.items()
        parts.append(part)
    return tuple(parts)

"""Extracts the visible text of HTML, well enough to print it or to parse a request in it."""

from __future__ import annotations

import html
import re
from typing import Final

# A tag cannot contain the beginning of another one, so that matching takes linear time.
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:]*|!)([^<>]*)>")
_INVISIBLE: Final = frozenset({"style", "script", "title", "template", "object", "select", "textarea", "xml"})
_VOID: Final = frozenset(
    {
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track"),
        *("wbr", "!"),
    }
)
_BREAKS: Final = frozenset(
    {
        *("br", "p", "div", "tr", "li", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "pre"),
        *("blockquote", "dl", "dt", "dd", "section", "article", "header", "footer", "center", "form", "body"),
    }
)
_CELLS: Final = frozenset({"td", "th"})
_HIDDEN: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?<![\w-])opacity\s*:\s*0(?![.\d])|"
    r"max-height\s*:\s*0[^;]*;[^\"']*overflow\s*:\s*hidden|overflow\s*:\s*hidden[^\"']*max-height\s*:\s*0(?![.\d])|"
    r"(?:^|[\s\"'])hidden(?=[\s=/]|$)",
    re.IGNORECASE,
)
_OTHER_ATTRIBUTES: Final = re.compile(r"\s(?!style\b)[\w:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_MAX_ATTRIBUTES: Final = 4000
_MAX_DEPTH: Final = 64
_ZERO_WIDTH: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
_BLANK: Final = re.compile(r"\n{3,}")


class _OpenElements:
    """The stack of open elements, to know whether their text is visible."""

    def __init__(self) -> None:
        self._open: list[tuple[str, bool]] = []
        self._hidden = 0

    @property
    def is_shown(self) -> bool:
        """Whether text at the current position is visible."""
        return not self._hidden

    def open(self, name: str, attributes: str) -> None:
        """Handle the start of an element."""
        if name == "p" or name in _BREAKS:
            self._close_paragraph()
        if name in _VOID or attributes.endswith("/") or len(self._open) >= _MAX_DEPTH:
            return
        hidden = (
            bool(attributes) and _HIDDEN.search(_OTHER_ATTRIBUTES.sub(" ", attributes[:_MAX_ATTRIBUTES])) is not None
        )
        self._open.append((name, hidden))
        self._hidden += hidden

    def close(self, name: str) -> None:
        """Handle the end of an element, and of unclosed elements in it."""
        if any(each == name for each, _ in self._open):
            while self._open:
                each, hidden = self._open.pop()
                self._hidden -= hidden
                if each == name:
                    break

    def _close_paragraph(self) -> None:
        # A paragraph ends where another block begins.
        if self._open and self._open[-1][0] == "p":
            self._hidden -= self._open.pop()[1]


def html_to_text(source: str) -> str:
    """Return the visible text of HTML, with line breaks; nothing is fetched.

    Comments, including Outlook's conditional ones, and elements hidden by their own style are left out.
    """
    flat = " ".join(_without_comments(source).split())
    parts: list[str] = []
    open_elements = _OpenElements()
    skipped_until, end = "", 0
    for tag in _TAG.finditer(flat):
        closing, name = bool(tag[1]), tag[2].lower()
        if skipped_until:
            if closing and name == skipped_until:
                skipped_until = ""
                end = tag.end()
            continue
        if open_elements.is_shown:
            parts.append(flat[end : tag.start()])
        end = tag.end()
        if closing:
            open_elements.close(name)
        elif name in _INVISIBLE and not tag[3].endswith("/"):
            skipped_until = name
        else:
            open_elements.open(name, tag[3])
        if open_elements.is_shown:
            parts.append("\n" if name in _BREAKS else " " if name in _CELLS else "")
    if not skipped_until and open_elements.is_shown:
        parts.append(flat[end:])
    lines = html.unescape("".join(parts)).translate(_ZERO_WIDTH).split("\n")
    return _BLANK.sub("\n\n", "\n".join(" ".join(line.split()) for line in lines)).strip()


def _without_comments(source: str) -> str:
    kept: list[str] = []
    at = 0
    while (start := source.find("<!--", at)) >= 0:
        kept.append(source[at:start])
        # «<!-->» and «<!--->» are complete comments, too.
        end = source.find("-->", start + 2)
        if end < 0:
            return "".join(kept)
        at = end + 3
    return "".join([*kept, source[at:]])

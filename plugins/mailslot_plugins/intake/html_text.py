"""What a person reads in HTML, as a mail client shows it, well enough to print it or to find an order in it."""

from __future__ import annotations

import html
import re
from typing import Final

# No tag holds the beginning of another, so that this takes time in proportion to the text, whatever the text is.
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:]*|!)([^<>]*)>")
_UNSEEN: Final = frozenset({"style", "script", "title", "template", "object", "select", "textarea", "xml"})
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
_VALUES: Final = re.compile(r"\s(?!style\b)[\w:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_MAX_ATTRIBUTES: Final = 4000
_MAX_DEPTH: Final = 64
_ZERO_WIDTH: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
_BLANK: Final = re.compile(r"\n{3,}")


class _OpenElements:
    """The elements that are open, as far as is needed to know whether their text is shown."""

    def __init__(self) -> None:
        self._open: list[tuple[str, bool]] = []
        self._hidden = 0

    @property
    def is_shown(self) -> bool:
        """Whether text that comes now is."""
        return not self._hidden

    def enter(self, name: str, attributes: str) -> None:
        """An element begins."""
        if name == "p" or name in _BREAKS:
            self._leave_paragraph()
        if name in _VOID or attributes.endswith("/") or len(self._open) >= _MAX_DEPTH:
            return
        hidden = bool(attributes) and _HIDDEN.search(_VALUES.sub(" ", attributes[:_MAX_ATTRIBUTES])) is not None
        self._open.append((name, hidden))
        self._hidden += hidden

    def leave(self, name: str) -> None:
        """An element ends, and with it those within it that nobody has ended."""
        if any(each == name for each, _ in self._open):
            while self._open:
                each, hidden = self._open.pop()
                self._hidden -= hidden
                if each == name:
                    break

    def _leave_paragraph(self) -> None:
        # A paragraph ends where another block begins.
        if self._open and self._open[-1][0] == "p":
            self._hidden -= self._open.pop()[1]


def text_of_html(source: str) -> str:
    """Return HTML's text with its line breaks; nothing that it refers to is fetched.

    Comments, conditional ones of Outlook among them, and what is hidden by its own style are left out.
    """
    flat = " ".join(_without_comments(source).split())
    seen: list[str] = []
    shown = _OpenElements()
    unseen, end = "", 0
    for tag in _TAG.finditer(flat):
        closing, name = bool(tag[1]), tag[2].lower()
        if unseen:
            if closing and name == unseen:
                unseen = ""
                end = tag.end()
            continue
        if shown.is_shown:
            seen.append(flat[end : tag.start()])
        end = tag.end()
        if closing:
            shown.leave(name)
        elif name in _UNSEEN and not tag[3].endswith("/"):
            unseen = name
        else:
            shown.enter(name, tag[3])
        if shown.is_shown:
            seen.append("\n" if name in _BREAKS else " " if name in _CELLS else "")
    if not unseen and shown.is_shown:
        seen.append(flat[end:])
    lines = html.unescape("".join(seen)).translate(_ZERO_WIDTH).split("\n")
    return _BLANK.sub("\n\n", "\n".join(" ".join(line.split()) for line in lines)).strip()


def _without_comments(source: str) -> str:
    kept: list[str] = []
    at = 0
    while (start := source.find("<!--", at)) >= 0:
        kept.append(source[at:start])
        # «<!-->» and «<!--->» are comments, too.
        end = source.find("-->", start + 2)
        if end < 0:
            return "".join(kept)
        at = end + 3
    return "".join([*kept, source[at:]])

"""What a person reads in HTML, well enough to print it or to find an order in its first lines."""

from __future__ import annotations

import html
import re
from typing import Final

# No tag holds the beginning of another, so that this takes time in proportion to the text, whatever the text is.
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*|!)[^<>]{0,2000}>")
_UNSEEN: Final = frozenset({"style", "script", "head", "title"})
_BREAKS: Final = frozenset({"br", "p", "div", "tr", "li", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6"})
_BLANK: Final = re.compile(r"\n{3,}")


def text_of_html(source: str) -> str:
    """Return HTML's text with its line breaks; nothing that it refers to is fetched."""
    flat = " ".join(source.split())
    seen: list[str] = []
    unseen, end = "", 0
    for tag in _TAG.finditer(flat):
        closing, name = bool(tag[1]), tag[2].lower()
        if not unseen:
            seen += [flat[end : tag.start()], "\n" if name in _BREAKS else ""]
            unseen = name if name in _UNSEEN and not closing else ""
        elif closing and name == unseen:
            unseen = ""
        end = tag.end()
    seen.append("" if unseen else flat[end:])
    lines = html.unescape("".join(seen)).split("\n")
    return _BLANK.sub("\n\n", "\n".join(line.strip() for line in lines)).strip()

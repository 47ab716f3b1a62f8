"""Comments in structured header fields (RFC 5322 section 3.2.2)."""

from __future__ import annotations

from typing import Final

_MOST_COMMENTS: Final = 100


def without_comments(value: str) -> str:
    """Return a field without its comments; nothing where one of them, or a quotation, has no end."""
    kept: list[str] = []
    depth = comments = 0
    quoted = escaped = False
    for letter in value:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == '"' and not depth:
            quoted = not quoted
        elif letter == "(" and not quoted:
            depth += 1
            comments += 1
        elif letter == ")" and depth:
            depth -= 1
            kept.append(" ")
            continue
        if comments > _MOST_COMMENTS:
            return ""
        if not depth:
            kept.append(letter)
    # What is opened and never closed makes the rest of it nobody's words.
    return "" if depth or quoted else "".join(kept)

"""Removes comments from structured header fields (RFC 5322 section 3.2.2)."""

from __future__ import annotations

from typing import Final

_MAX_COMMENTS: Final = 100


def strip_comments(value: str) -> str:
    """Return a field without its comments; empty if a comment or quoted string is not closed."""
    kept: list[str] = []
    depth = comments = 0
    quoted = escaped = False
    for character in value:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"' and not depth:
            quoted = not quoted
        elif character == "(" and not quoted:
            depth += 1
            comments += 1
        elif character == ")" and depth:
            depth -= 1
            kept.append(" ")
            continue
        if comments > _MAX_COMMENTS:
            return ""
        if not depth:
            kept.append(character)
    # An unclosed comment or quoted string makes the rest ambiguous.
    return "" if depth or quoted else "".join(kept)

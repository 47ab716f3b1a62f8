"""Removes internals of a server's program from its replies; people do not need them, and the detail keeps them."""

from __future__ import annotations

import re
from typing import Final

_INTERNALS: Final = (
    # Names of exceptions and components, such as STOREDRV.Submission.Exception:SendAsDeniedException.
    re.compile(r"\b(?:storedrv|resolver|smtpsend|smtpsubmission)\.[\w.:]*", re.IGNORECASE),
    re.compile(r"\b[\w.:]*[a-z]Exception\b[\w.:]*(?:\([^)]*\))?|\bMapi\w+"),
    re.compile(r"\bat [A-Za-z_][\w.]*\.[A-Za-z_]\w*\([^)]*\)(?: in \S+)?"),
    re.compile(r"\b0x[0-9a-f]{4,}\b", re.IGNORECASE),
    # Hosts within the service: [BN9PR03MB0001.namprd03.prod.outlook.com], [Hostname=…], a number of Google's.
    re.compile(
        r"\[(?:hostname=)?[\w.\-]+\.(?:outlook|office365|exchangelabs)\.com[^\]]*\]|\[hostname=[^\]]*\]", re.IGNORECASE
    ),
    re.compile(r"\s\S+ - gsmtp\b|\s- gsmtp\b"),
    re.compile(r"(?:diagnostic|stack ?trace|traceback)\b.*", re.IGNORECASE),
)
_LEFT_OVER: Final = re.compile(r"(?:[;,:|]\s*)+(?=[;,:|])|^[\s;,:|\-]+|[\s;,:|\-]+$")


def without_internals(text: str) -> str:
    """Return a reply's text without internals of the server's program; may be empty."""
    for pattern in _INTERNALS:
        text = pattern.sub(" ", text)
    return _LEFT_OVER.sub("", " ".join(text.split())).strip()

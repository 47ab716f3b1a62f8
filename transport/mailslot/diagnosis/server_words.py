"""A server's words for a person: without what only its programmers read, which stays in the detail."""

from __future__ import annotations

import re
from typing import Final

_PROGRAM: Final = (
    # Names of exceptions and of parts of a program, such as STOREDRV.Submission.Exception:SendAsDeniedException.
    re.compile(r"\b(?:storedrv|resolver|smtpsend|smtpsubmission)\.[\w.:]*", re.IGNORECASE),
    re.compile(r"\b[\w.:]*[a-z]Exception\b[\w.:]*(?:\([^)]*\))?|\bMapi\w+"),
    re.compile(r"\bat [A-Za-z_][\w.]*\.[A-Za-z_]\w*\([^)]*\)(?: in \S+)?"),
    re.compile(r"\b0x[0-9a-f]{4,}\b", re.IGNORECASE),
    # Where within the service: [BN9PR03MB0001.namprd03.prod.outlook.com], [Hostname=…], a number of Google's.
    re.compile(
        r"\[(?:hostname=)?[\w.\-]+\.(?:outlook|office365|exchangelabs)\.com[^\]]*\]|\[hostname=[^\]]*\]", re.IGNORECASE
    ),
    re.compile(r"\s\S+ - gsmtp\b|\s- gsmtp\b"),
    re.compile(r"(?:diagnostic|stack ?trace|traceback)\b.*", re.IGNORECASE),
)
_LEFT_OVER: Final = re.compile(r"(?:[;,:|]\s*)+(?=[;,:|])|^[\s;,:|\-]+|[\s;,:|\-]+$")


def for_people(words: str) -> str:
    """Return what a server said without names of programs; empty where nothing else was said."""
    for pattern in _PROGRAM:
        words = pattern.sub(" ", words)
    return _LEFT_OVER.sub("", " ".join(words.split())).strip()

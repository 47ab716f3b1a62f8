"""Normalizes a server's text, so that rules compare wording only, without case, accents, codes, addresses and hosts."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_TEXT: Final = 4000
"""Characters of a reply that are compared."""

LINK: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"'“”]+", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"<[^<>\s]*@[^<>\s]*>|[\w.+=\-]+@[\w\-]+(?:\.[\w\-]+)*")
_NUMBERS: Final = re.compile(r"#?\b[245]\.\d{1,3}\.\d{1,3}\b(?!\.\d)")
_IP: Final = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){3,7}\b", re.IGNORECASE)
_HOST: Final = re.compile(r"\b(?:[\w](?:[\w\-]*\w)?\.)+(?:[a-z]{2,6}|[A-Z]{2,6}|example|invalid)\b")
_FIELD: Final = re.compile(r"\b(?:relay|dsn)=\S*", re.IGNORECASE)
"""Fields with which logs add the relay and the status to a server's text."""
_APOSTROPHE: Final = re.compile(r"(?<=\w)['’`´](?=\w)")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
_OTHER: Final = re.compile(r"[\W_]+")
_STROKED: Final = str.maketrans("łøđ", "lod")
"""Letters with a stroke, which Unicode does not decompose into a letter and an accent."""
_ENHANCED: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d]|\.\d)")


def normalize(text: str) -> str:
    """Return the words in lower case, without accents, codes, addresses, hosts and links, with single spaces."""
    text = unicodedata.normalize("NFKC", text[:MAX_TEXT])
    for pattern in (LINK, _ADDRESS, _FIELD, _NUMBERS, _IP, _HOST):
        text = pattern.sub(" ", text)
    text = _CAMEL.sub(" ", _APOSTROPHE.sub("", text)).casefold().replace("i\u0307", "i").replace("ı", "i")
    if not text.isascii():
        text = _without_accents(text)
    return _OTHER.sub(" ", text).strip()


def links(text: str) -> tuple[str, ...]:
    """Return the links and hosts in a text: some servers give the reason only in a link."""
    text = _ADDRESS.sub(" ", text[:MAX_TEXT])
    return tuple(match[0] for pattern in (LINK, _HOST) for match in pattern.finditer(text))


def enhanced_codes(text: str) -> tuple[str, ...]:
    """Return the enhanced status codes within a text, such as those of another server's quoted refusal."""
    return tuple(_ENHANCED.findall(LINK.sub(" ", text[:MAX_TEXT])))


def _without_accents(text: str) -> str:
    """Return a text without the accents of Latin letters; other scripts keep their marks."""
    return "".join(
        parts[0] if len(parts := unicodedata.normalize("NFD", letter)) > 1 and parts[0].isascii() else letter
        for letter in text.translate(_STROKED)
    )

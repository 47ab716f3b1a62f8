"""File names of attachments: made safe to save, and as header parameters.

Recipients' programs should not trust file names (RFC 2183 section 2.3), but many do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.message.header import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_OCTETS: Final = 120
"""The octets of a name in UTF-8 that no known file system or mail program truncates."""

_MAX_SUFFIX: Final = 20
_FOLDER_PREFIX: Final = re.compile(r".*[/\\]", re.DOTALL)
_LINE_END: Final = re.compile(r"[\r\n\0]")
# Control characters, line separators, lone surrogates, and bidirectional controls (Unicode Standard Annex 9, section
# 2), which can make an .exe look like a .pdf.
_INVISIBLE: Final = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Characters that Windows does not allow. Some programs also strip quotation marks and angle brackets.
_FORBIDDEN: Final = re.compile(r'[<>:"|?*]')
_RESERVED: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|\Z)", re.IGNORECASE)

_QUOTABLE: Final = re.compile(r"[ !#-\[\]-~]+")
_ATTRIBUTE_CHARS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")


def safe_name(name: str) -> str:
    """Return a name that any system can save: without folders, invisible or reserved characters, and not too long.

    Raises:
        InputError: it contains CR, LF or NUL.
    """
    if _LINE_END.search(name):
        raise InputError(f"The file name {name[:80]!r} holds a line break or a NUL.", stage="data")
    name = _FORBIDDEN.sub("_", _INVISIBLE.sub("", _FOLDER_PREFIX.sub("", name)))
    name = _trim(name)
    if _RESERVED.match(name):
        name = f"_{name}"
    return _shorten(name or "attachment")


def unique_names(names: Iterable[str]) -> list[str]:
    """Return the names, with ``(2)`` and so on added to duplicates, ignoring case."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        # A stranger's mail may give thousands of documents one name.
        candidate, count = name, counts.get(name.casefold(), 1)
        while candidate.casefold() in taken:
            count += 1
            candidate = _shorten(name, f" ({count})")
        counts[name.casefold()] = count
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique


def name_parameters(name: str) -> list[str]:
    """Return the ``filename`` parameter as tokens for `fold`: quoted if that is safe, else encoded by RFC 2231.

    A long name is split into continuations between characters (RFC 2231 sections 3 and 4).
    """
    quoted = f' filename="{name}"'
    if len(quoted) <= WIDTH and _QUOTABLE.fullmatch(name):
        return [quoted]
    chars = list(_percent_encode(name))
    whole = f" filename*=UTF-8''{''.join(chars)}"
    if len(whole) <= WIDTH:
        return [whole]
    segments = ["UTF-8''"]
    for char in chars:
        if len(segments[-1]) + len(char) > WIDTH - len(" filename*99*=;"):
            segments.append("")
        segments[-1] += char
    last = len(segments) - 1
    return [f" filename*{n}*={s}{';' if n < last else ''}" for n, s in enumerate(segments)]


def _shorten(name: str, mark: str = "") -> str:
    """Return `name` with `mark` before its suffix, with its stem truncated if it is too long."""
    stem, dot, suffix = name.rpartition(".")
    ending = mark + dot + suffix
    if not stem or len(suffix.encode()) > _MAX_SUFFIX:
        stem, ending = name, mark
    room = MAX_OCTETS - len(ending.encode())
    if len(stem.encode()) > room:
        stem = _trim(stem.encode()[:room].decode(errors="ignore"))
    return stem + ending


def _trim(name: str) -> str:
    while name != (shorter := name.strip().rstrip(".")):
        name = shorter
    return name


def _percent_encode(name: str) -> Iterator[str]:
    """Yield each character of `name` encoded for an extended value (RFC 2231 section 7)."""
    for char in name:
        yield "".join(chr(o) if o in _ATTRIBUTE_CHARS else f"%{o:02X}" for o in char.encode())

"""File names of attachments: harmless for whoever saves them, and as a header's parameters.

A receiver ought to distrust them (RFC 2183 section 2.3); many do not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.message.header import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_OCTETS: Final = 120
"""The octets of a name in UTF-8: what no file system and no mail program is known to cut."""

_MAX_SUFFIX: Final = 20
_FOLDERS: Final = re.compile(r".*[/\\]", re.DOTALL)
_LINE_END: Final = re.compile(r"[\r\n\0]")
# Control characters, line separators, half characters, and what turns the text beside it around
# (Unicode Standard Annex 9, section 2), by which an .exe passes for a .pdf.
_UNSEEN: Final = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# What Windows allows in no name. Quotation marks and angle brackets around a name are also taken off
# by programs that should not.
_FORBIDDEN: Final = re.compile(r'[<>:"|?*]')
_RESERVED: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|\Z)", re.IGNORECASE)

_QUOTABLE: Final = re.compile(r"[ !#-\[\]-~]+")
_ATTRIBUTE_CHARS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")


def safe_name(name: str) -> str:
    """Return a name that any system can save: no folder, nothing unseen or reserved, not too long.

    Raises:
        InputError: it holds CR, LF or NUL, which makes it an attempt or an accident and no name.
    """
    if _LINE_END.search(name):
        raise InputError(f"The file name {name[:80]!r} holds a line break or a NUL.", stage="data")
    name = _FORBIDDEN.sub("_", _UNSEEN.sub("", _FOLDERS.sub("", name)))
    name = _trimmed(name)
    if _RESERVED.match(name):
        name = f"_{name}"
    return _shortened(name or "attachment")


def unique_names(names: Iterable[str]) -> list[str]:
    """Return the names, with ``(2)`` and so on put into those that came before, in any case."""
    taken: set[str] = set()
    unique: list[str] = []
    for name in names:
        candidate, count = name, 1
        while candidate.casefold() in taken:
            count += 1
            candidate = _shortened(name, f" ({count})")
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique


def name_parameters(name: str) -> list[str]:
    """Return ``filename`` as tokens for `fold`: quoted where that is safe, else as RFC 2231 has it.

    A long name is cut into continuations, between characters (RFC 2231 sections 3 and 4).
    """
    quoted = f' filename="{name}"'
    if len(quoted) <= WIDTH and _QUOTABLE.fullmatch(name):
        return [quoted]
    chars = list(_percent_encoded(name))
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


def _shortened(name: str, mark: str = "") -> str:
    """Return `name` with `mark` before its suffix, and cut before both where it is too long."""
    stem, dot, suffix = name.rpartition(".")
    ending = mark + dot + suffix
    if not stem or len(suffix.encode()) > _MAX_SUFFIX:
        stem, ending = name, mark
    room = MAX_OCTETS - len(ending.encode())
    if len(stem.encode()) > room:
        stem = _trimmed(stem.encode()[:room].decode(errors="ignore"))
    return stem + ending


def _trimmed(name: str) -> str:
    while name != (shorter := name.strip().rstrip(".")):
        name = shorter
    return name


def _percent_encoded(name: str) -> Iterator[str]:
    """Give each character of `name` as RFC 2231 section 7 lets it stand in an extended value."""
    for char in name:
        yield "".join(chr(o) if o in _ATTRIBUTE_CHARS else f"%{o:02X}" for o in char.encode())

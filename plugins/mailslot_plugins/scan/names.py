"""Patterns for subjects and file names, such as ``Scan from {device}, {date}``.

What is put in comes from the device's settings and from people, so it may hold anything: line ends become blanks in a
subject, and whatever could lead into another folder becomes ``-`` in a file name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError
from mailslot.message.filename import safe_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAX_SUBJECT: Final = 5_000
"""Characters of a subject; more are an accident."""

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "device": "the device's name",
    "model": "its model",
    "serial": "its serial number",
    "location": "where it stands",
    "user": "who scanned",
    "date": "the day, such as 2026-11-24",
    "time": "the time, such as 17:05:09",
    "counter": "how many scans there were; {counter:4} has at least four digits",
    "name": "the file's own name without its suffix",
    "page": "the number of the file in the scan; {page:3} has at least three digits",
}

_PART: Final = re.compile(r"\{\{|\}\}|\{([a-z]+)(?::([1-9]))?\}|[{}]")
_UNSEEN: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SEPARATORS: Final = re.compile(r'[/\\:<>"|?*]')


@dataclass(frozen=True, slots=True)
class Pattern:
    """A subject or a file name with placeholders in braces; two braces stand for one.

    Attributes:
        text: the pattern.
        kind: what it makes.

    Raises:
        InputError: a placeholder is not known, a brace is alone, or it holds what a subject or file name must not.
    """

    text: str
    kind: Literal["subject", "file name"] = "subject"

    def __post_init__(self) -> None:
        for match in _PART.finditer(self.text):
            name = match[1]
            if match[0] in {"{", "}"}:
                raise self._wrong(f"the brace in {_around(self.text, match.start())} is alone; write it twice")
            if name is not None and name not in PLACEHOLDERS:
                raise self._wrong(f"{{{name}}} is not known; there are {', '.join(f'{{{n}}}' for n in PLACEHOLDERS)}")
        if _UNSEEN.search(self.text):
            raise self._wrong("it holds a line break, another control character or broken text")
        if self.kind == "file name" and re.search(r"[/\\]", self.text):
            raise self._wrong("it holds a slash, and a file name is no path")
        if len(self.text) > MAX_SUBJECT:
            raise self._wrong(f"it has {len(self.text):,} characters, and {MAX_SUBJECT:,} are allowed")

    def uses(self, placeholder: str) -> bool:
        """Whether a placeholder stands in it."""
        return any(match[1] == placeholder for match in _PART.finditer(self.text))

    def fill(self, values: Mapping[str, str | int]) -> str:
        """Return the text with every placeholder filled in; what is missing in `values` is left out."""

        def put(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0][0]
            value = values.get(match[1], "")
            if isinstance(value, int):
                value = f"{value:0{match[2] or 1}}"
            return self._harmless(value)

        return _PART.sub(put, self.text).strip()

    def file_name(self, values: Mapping[str, str | int], suffix: str) -> str:
        """Return a file name that any system can save, with a suffix such as ``.pdf``."""
        stem = self.fill(values)
        if suffix and stem.lower().endswith(suffix.lower()):
            stem = stem[: -len(suffix)]
        return safe_name(f"{stem.strip(' .') or 'scan'}{suffix}")

    def _harmless(self, value: str) -> str:
        value = " ".join(_UNSEEN.sub(" ", value).split())
        return _SEPARATORS.sub("-", value) if self.kind == "file name" else value

    def _wrong(self, why: str) -> InputError:
        return InputError(f"The pattern of the {self.kind} cannot be used: {why}.", stage="data")


def moment_values(moment: datetime) -> dict[str, str | int]:
    """Return what the placeholders for date and time are filled with."""
    return {"date": f"{moment:%Y-%m-%d}", "time": f"{moment:%H:%M:%S}"}


def _around(text: str, at: int) -> str:
    return repr(text[max(0, at - 10) : at + 10])

"""Patterns for subjects and file names, for example ``Scan from {device}, {date}``.

The values come from settings and from people and may hold anything. In a subject, line ends become blanks; in a file
name, characters that could lead into another folder become ``-``.
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
"""Characters of a subject; a longer one is a mistake."""

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

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([a-z]+)(?::([1-9]))?\}|[{}]")
_CONTROL_CHARACTERS: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SEPARATORS: Final = re.compile(r'[/\\:<>"|?*]')


@dataclass(frozen=True, slots=True)
class Pattern:
    """A subject or file name with placeholders in braces; a doubled brace stands for one.

    Attributes:
        text: the pattern.
        kind: whether it makes a subject or a file name.

    Raises:
        InputError: a placeholder is unknown, a brace is single, or the text is not allowed in a subject or file name.
    """

    text: str
    kind: Literal["subject", "file name"] = "subject"

    def __post_init__(self) -> None:
        for match in _TOKEN.finditer(self.text):
            name = match[1]
            if match[0] in {"{", "}"}:
                raise self._error(f"the single brace in {_excerpt(self.text, match.start())} must be doubled")
            if name is not None and name not in PLACEHOLDERS:
                raise self._error(f"{{{name}}} is not known; there are {', '.join(f'{{{n}}}' for n in PLACEHOLDERS)}")
        if _CONTROL_CHARACTERS.search(self.text):
            raise self._error("it contains a line break, another control character or broken text")
        if self.kind == "file name" and re.search(r"[/\\]", self.text):
            raise self._error("it contains a slash, and a file name is not a path")
        if len(self.text) > MAX_SUBJECT:
            raise self._error(f"it has {len(self.text):,} characters, and {MAX_SUBJECT:,} are allowed")

    def uses(self, placeholder: str) -> bool:
        """Whether it contains a placeholder."""
        return any(match[1] == placeholder for match in _TOKEN.finditer(self.text))

    def fill(self, values: Mapping[str, str | int]) -> str:
        """Return the text with its placeholders filled in; those missing in `values` become empty."""

        def replacement(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0][0]
            value = values.get(match[1], "")
            if isinstance(value, int):
                value = f"{value:0{match[2] or 1}}"
            return self._sanitize(value)

        return _TOKEN.sub(replacement, self.text).strip()

    def file_name(self, values: Mapping[str, str | int], suffix: str) -> str:
        """Return a file name that is valid on every system, with a suffix, for example ``.pdf``."""
        stem = self.fill(values)
        if suffix and stem.lower().endswith(suffix.lower()):
            stem = stem[: -len(suffix)]
        return safe_name(f"{stem.strip(' .') or 'scan'}{suffix}")

    def _sanitize(self, value: str) -> str:
        value = " ".join(_CONTROL_CHARACTERS.sub(" ", value).split())
        return _SEPARATORS.sub("-", value) if self.kind == "file name" else value

    def _error(self, why: str) -> InputError:
        return InputError(f"The pattern of the {self.kind} cannot be used: {why}.", stage="data")


def timestamp_values(timestamp: datetime) -> dict[str, str | int]:
    """Return the values of the placeholders ``date`` and ``time``."""
    return {"date": f"{timestamp:%Y-%m-%d}", "time": f"{timestamp:%H:%M:%S}"}


def _excerpt(text: str, at: int) -> str:
    return repr(text[max(0, at - 10) : at + 10])

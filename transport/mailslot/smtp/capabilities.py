"""The capabilities of an SMTP server, from its reply to EHLO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Capabilities(Mapping[str, tuple[str, ...]]):
    """EHLO keywords, in capitals, with their parameters as the server wrote them (RFC 5321 section 4.1.1.1).

    The parameters of a repeated keyword are merged. The obsolete ``AUTH=LOGIN`` counts as ``AUTH LOGIN``.

    Attributes:
        pipelining: whether commands may be sent in groups (RFC 2920).
    """

    def __init__(self, text: str = "") -> None:
        """Parse the text of a reply to EHLO: the server's name in the first line, then a keyword in each line."""
        self._keywords: dict[str, tuple[str, ...]] = {}
        for line in text.split("\n")[1:]:
            words = line.split()
            if not words:
                continue
            keyword, *parameters = words
            if keyword[:5].upper() == "AUTH=":
                parameters.insert(0, keyword[5:])
                keyword = "AUTH"
            keyword = keyword.upper()
            self._keywords[keyword] = self._keywords.get(keyword, ()) + tuple(parameters)
        self.pipelining = "PIPELINING" in self._keywords

    def __getitem__(self, keyword: str) -> tuple[str, ...]:
        return self._keywords[keyword.upper()]

    def __contains__(self, keyword: object) -> bool:
        return keyword in self._keywords or (isinstance(keyword, str) and keyword.upper() in self._keywords)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keywords)

    def __len__(self) -> int:
        return len(self._keywords)

    @property
    def mechanisms(self) -> frozenset[str]:
        """The SASL mechanisms offered, in capitals (RFC 4954 section 3)."""
        return frozenset(name.upper() for name in self._keywords.get("AUTH", ()))

    @property
    def size(self) -> int | None:
        """The maximum message size in octets; None without a valid limit (RFC 1870 section 3)."""
        return _number(next(iter(self._keywords.get("SIZE", ())), "")) or None

    def limit(self, name: str) -> int | None:
        """Return a limit such as ``"RCPTMAX"``; None if it is missing or malformed (RFC 9422 section 3)."""
        for parameter in self._keywords.get("LIMITS", ()):
            key, _, value = parameter.partition("=")
            if key.upper() == name:
                return _number(value) or None
        return None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0

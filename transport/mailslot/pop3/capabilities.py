"""The capabilities of a POP3 server, from its response to CAPA (RFC 2449)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Capabilities(Mapping[str, tuple[str, ...]]):
    """Capability tags, in capitals, with their arguments as the server wrote them.

    Empty before CAPA, and if the server refuses it, as many do that have capabilities nevertheless.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._tags: dict[str, tuple[str, ...]] = {}
        for line in lines:
            tag, *arguments = line.split() or [""]
            if tag:
                self._tags[tag.upper()] = self._tags.get(tag.upper(), ()) + tuple(arguments)

    def __getitem__(self, tag: str) -> tuple[str, ...]:
        return self._tags[tag.upper()]

    def __contains__(self, tag: object) -> bool:
        return isinstance(tag, str) and tag.upper() in self._tags

    def __iter__(self) -> Iterator[str]:
        return iter(self._tags)

    def __len__(self) -> int:
        return len(self._tags)

    @property
    def mechanisms(self) -> frozenset[str]:
        """The SASL mechanisms offered, in capitals (RFC 5034 section 3)."""
        return frozenset(name.upper() for name in self._tags.get("SASL", ()))

    @property
    def login_delay(self) -> int | None:
        """The minimum seconds between logins; None if the server does not say (RFC 2449 section 6.5)."""
        first = next(iter(self._tags.get("LOGIN-DELAY", ())), "")
        return int(first) if first.isascii() and first.isdigit() and len(first) < 8 else None

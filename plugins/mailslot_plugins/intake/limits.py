"""Limits for opening mails and documents; those that exceed them are set aside."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

MAX_DOCUMENTS: Final = 1_000
"""Documents of a mail that are shown to people: some octets are enough for one, and a page lists them all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one task in the confined process.

    Attributes:
        seconds: processor time; twice as much real time is allowed.
        memory: octets of address space.
        file_size: octets of each file that it writes.
        depth: levels of nested MIME entities.
        parts: parts of a mail.
        header: octets of a header, and of each field in it.
        text: characters of a mail's text that are kept.
        pages: pages of a document.
        pixels: pixels of an image.
    """

    seconds: int = 60
    memory: int = 1 << 30
    file_size: int = 200 << 20
    depth: int = 10
    parts: int = 100
    header: int = 256 << 10
    text: int = 100_000
    pages: int = 200
    pixels: int = 100_000_000

    def as_json(self) -> dict[str, int]:
        """Return the limits as JSON values."""
        return asdict(self)

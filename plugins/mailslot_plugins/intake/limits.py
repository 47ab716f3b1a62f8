"""What a mail and its documents may cost; whatever costs more is set aside."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one task in a process of its own.

    Attributes:
        seconds: processor time; twice as much may pass on the clock.
        memory: octets of address space.
        written: octets of any file that it writes.
        depth: levels of MIME.
        parts: parts of a mail.
        header: octets of a header, and of each field in it.
        text: characters of a mail's text that are kept.
        pages: pages of a document.
        pixels: pixels of an image.
    """

    seconds: int = 60
    memory: int = 1 << 30
    written: int = 200 << 20
    depth: int = 10
    parts: int = 100
    header: int = 256 << 10
    text: int = 100_000
    pages: int = 200
    pixels: int = 100_000_000

    def as_json(self) -> dict[str, int]:
        """Return them as JSON holds them."""
        return asdict(self)

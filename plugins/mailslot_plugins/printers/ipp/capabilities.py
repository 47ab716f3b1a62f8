"""A printer's capabilities, from its attributes (RFC 8011 section 5.4, PWG 5100.12 and 5102.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot_plugins.printers.ipp.reasons import printer_sentences
from mailslot_plugins.printers.prepare import A4

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot_plugins.printers.ipp.codec import Value

ATTRIBUTES: Final = (
    *("printer-state", "printer-state-reasons", "printer-is-accepting-jobs", "document-format-supported"),
    *("operations-supported", "copies-supported", "sides-supported", "media-supported", "media-default"),
    *("print-color-mode-supported", "color-supported", "job-k-octets-supported", "printer-resolution-supported"),
    *("pwg-raster-document-resolution-supported", "pwg-raster-document-type-supported"),
    "pwg-raster-document-sheet-back",
)

STATES: Final = {3: "idle", 4: "printing", 5: "stopped"}

_DEFAULT_DPI: Final = 300
_DOTS_PER_INCH: Final = 3


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A printer's capabilities and state.

    Attributes:
        state: ``"idle"``, ``"printing"``, ``"stopped"`` or ``"unknown"``.
        accepting: whether it accepts documents.
        reasons: its problems, one sentence each.
        formats: the media types that it accepts.
        supported_operations: the codes of its operations.
        copies: the most copies of one document.
        sides, media, colors: the supported keywords.
        paper: the default paper.
        color: whether it prints in colour.
        max_octets: the size of the largest document; 0 if unknown.
        dpi: dots per inch for PWG raster and rendered pages.
        raster_types: the supported kinds of PWG raster.
        back: how it expects the back of a sheet in PWG raster.
    """

    state: str
    accepting: bool
    reasons: tuple[str, ...]
    formats: tuple[str, ...]
    supported_operations: frozenset[int]
    copies: int
    sides: frozenset[str]
    media: frozenset[str]
    colors: frozenset[str]
    paper: str
    color: bool
    max_octets: int
    dpi: int
    raster_types: tuple[str, ...]
    back: str


def parse_capabilities(attributes: Mapping[str, tuple[Value, ...]]) -> Capabilities:
    """Return the capabilities in attributes, any of which may be missing or of a wrong type."""

    def texts(name: str) -> tuple[str, ...]:
        return tuple(value for value in attributes.get(name, ()) if isinstance(value, str))

    def first(name: str) -> Value:
        return next(iter(attributes.get(name, ())), None)

    state = first("printer-state")
    copies, octets = first("copies-supported"), first("job-k-octets-supported")
    return Capabilities(
        state=STATES.get(state if isinstance(state, int) else 0, "unknown"),
        accepting=first("printer-is-accepting-jobs") is not False,
        reasons=printer_sentences(attributes.get("printer-state-reasons", ())),
        formats=texts("document-format-supported"),
        supported_operations=frozenset(
            each for each in attributes.get("operations-supported", ()) if isinstance(each, int)
        ),
        copies=copies[1] if isinstance(copies, tuple) else 1,
        sides=frozenset(texts("sides-supported")),
        media=frozenset(texts("media-supported")),
        colors=frozenset(texts("print-color-mode-supported")),
        paper=next(iter(texts("media-default")), A4),
        color=first("color-supported") is not False,
        max_octets=octets[1] * 1024 if isinstance(octets, tuple) else 0,
        dpi=_dpi(attributes),
        raster_types=texts("pwg-raster-document-type-supported"),
        back=next(iter(texts("pwg-raster-document-sheet-back")), "normal"),
    )


def _dpi(attributes: Mapping[str, tuple[Value, ...]]) -> int:
    for name in ("pwg-raster-document-resolution-supported", "printer-resolution-supported"):
        found = [
            value[0]
            for value in attributes.get(name, ())
            if isinstance(value, tuple) and len(value) == 3 and value[0] == value[1] and value[2] == _DOTS_PER_INCH
        ]
        fit = [dpi for dpi in found if 72 <= dpi <= 1200]
        if fit:
            return min(fit, key=lambda dpi: abs(dpi - _DEFAULT_DPI))
    return _DEFAULT_DPI

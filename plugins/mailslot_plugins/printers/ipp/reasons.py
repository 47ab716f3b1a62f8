"""The meaning of a printer's and a job's state reasons, as sentences (RFC 8011 sections 5.4.12 and 5.3.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SENTENCES: Final[Mapping[str, str]] = {
    "media-empty": "The printer is out of paper.",
    "media-needed": "The printer is out of paper.",
    "media-jam": "Paper is jammed in the printer.",
    "toner-empty": "The printer is out of toner.",
    "marker-supply-empty": "The printer is out of toner or ink.",
    "marker-waste-full": "The printer's waste container is full.",
    "cover-open": "A cover of the printer is open.",
    "door-open": "A door of the printer is open.",
    "interlock-open": "A cover of the printer is open.",
    "input-tray-missing": "A paper tray of the printer is missing.",
    "output-tray-missing": "The printer's output tray is missing.",
    "output-area-full": "The printer's output tray is full.",
    "opc-life-over": "The printer's drum is worn out.",
    "paused": "The printer is paused.",
    "moving-to-paused": "The printer is paused.",
    "shutdown": "The printer is switched off.",
    "spool-area-full": "The printer's memory is full.",
    "offline": "The printer is offline.",
    "connecting-to-device": "The printer is connecting.",
    "fuser-over-temp": "The printer's fuser is too hot.",
    "fuser-under-temp": "The printer's fuser is too cold.",
}
_SUFFIXES: Final = ("-report", "-warning", "-error")
_MAX_REASONS: Final = 20

DOCUMENT_REASONS: Final = frozenset(
    {
        *("unsupported-document-format", "document-format-error", "document-unprintable-error", "conversion-error"),
        *("unsupported-compression", "compression-error", "document-password-error", "document-access-error"),
    }
)
"""State reasons of a job that are caused by its document."""


def printer_sentences(keywords: Iterable[object]) -> tuple[str, ...]:
    """Return a printer's problems as sentences, from ``printer-state-reasons``, without duplicates."""
    found: dict[str, None] = {}
    for keyword in list(keywords)[:_MAX_REASONS]:
        name = str(keyword)
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        if name in _SENTENCES and not str(keyword).endswith(("-report", "-warning")):
            found[_SENTENCES[name]] = None
    return tuple(found)


def is_document_fault(keywords: Iterable[object]) -> bool:
    """Return whether a job failed because of its document, from ``job-state-reasons``."""
    return not DOCUMENT_REASONS.isdisjoint(map(str, keywords))

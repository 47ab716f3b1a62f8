"""The kinds of alerts: what can be wrong with a device, and how it is reported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["information", "warning", "error"]

SEVERITIES: Final[tuple[Severity, ...]] = ("information", "warning", "error")
"""In ascending order."""

_MINUTE: Final = 60.0
_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class AlertKind:
    """A kind of alert.

    Attributes:
        name: its name in commands.
        severity: its severity, if the source gives none.
        title: its name in a subject, without a full stop.
        advice: what to do about it, in a sentence.
        reasons: the keywords of ``printer-state-reasons``, without suffix, that mean it (RFC 8011 section 5.4.12 and
            the registrations since).
        debounce: seconds that a watched condition must last before it is mailed.
        clear_after: seconds that it must be gone before the incident ends.
    """

    name: str
    severity: Severity
    title: str
    advice: str
    reasons: tuple[str, ...] = ()
    debounce: float = 0.0
    clear_after: float = _MINUTE


_ALL_KINDS: Final = (
    # Sensors of supplies flutter at their limit: a supply counts as full again only after a day.
    AlertKind(
        "toner_low",
        "warning",
        "Toner low",
        "Have a new cartridge at hand.",
        ("toner-low", "marker-supply-low", "marker-ink-almost-empty", "marker-toner-cartridge-almost-empty"),
        clear_after=_DAY,
    ),
    AlertKind(
        "toner_empty",
        "error",
        "Toner empty",
        "Replace the cartridge.",
        (
            *("toner-empty", "marker-supply-empty", "marker-ink-empty", "marker-toner-cartridge-empty"),
            *("marker-supply-missing", "marker-toner-cartridge-missing"),
        ),
    ),
    AlertKind(
        "waste_toner_almost_full",
        "warning",
        "Waste toner almost full",
        "Have a new waste toner container at hand.",
        ("marker-waste-almost-full", "marker-waste-ink-receptacle-almost-full"),
        clear_after=_DAY,
    ),
    AlertKind(
        "waste_toner_full",
        "error",
        "Waste toner full",
        "Replace the waste toner container.",
        ("marker-waste-full", "marker-waste-ink-receptacle-full"),
    ),
    AlertKind(
        "drum_near_end",
        "warning",
        "Drum near its end",
        "Have a new drum at hand.",
        ("opc-near-eol", "developer-low"),
        clear_after=_DAY,
    ),
    AlertKind("drum_end", "error", "Drum at its end", "Replace the drum.", ("opc-life-over", "developer-empty")),
    AlertKind("paper_low", "warning", "Paper low", "Add paper.", ("media-low",), clear_after=10 * _MINUTE),
    AlertKind(
        "paper_empty",
        "error",
        "Paper empty",
        "Add paper.",
        ("media-empty", "media-needed"),
        debounce=3 * _MINUTE,
    ),
    AlertKind("jam", "error", "Paper jam", "Remove the jammed paper.", ("media-jam",), debounce=2 * _MINUTE),
    AlertKind(
        "cover_open",
        "warning",
        "Cover open",
        "Close the cover.",
        ("cover-open", "door-open", "interlock-open"),
        debounce=5 * _MINUTE,
    ),
    AlertKind(
        "tray_missing",
        "warning",
        "Tray missing",
        "Insert the tray.",
        ("input-tray-missing", "output-tray-missing"),
        debounce=5 * _MINUTE,
    ),
    AlertKind(
        "output_full",
        "warning",
        "Output tray full",
        "Take the paper out of the output tray.",
        ("output-area-full", "output-area-almost-full"),
        debounce=3 * _MINUTE,
    ),
    AlertKind("service_due", "warning", "Service due", "Call the service technician for regular maintenance."),
    AlertKind(
        "service_call",
        "error",
        "Service needed",
        "Call the service technician.",
        ("fuser-over-temp", "fuser-under-temp", "interpreter-resource-unavailable"),
        debounce=5 * _MINUTE,
    ),
    AlertKind(
        "disk_full",
        "error",
        "Disk full",
        "Delete documents that are no longer needed.",
        ("spool-area-full",),
    ),
    AlertKind(
        "fax_memory_full", "error", "Fax memory full", "Print or delete received faxes, or no more can be received."
    ),
    AlertKind(
        "token_needed",
        "error",
        "Token to be obtained again",
        "Delete the token and obtain it again.",
        debounce=10 * _MINUTE,
    ),
    AlertKind(
        "administrator_needed",
        "error",
        "Sign-in refused by the provider",
        "The administrator of the mail service must act.",
        debounce=10 * _MINUTE,
    ),
    AlertKind(
        "certificate_ends",
        "warning",
        "Certificate ends soon",
        "Replace the listener's certificate and its key.",
    ),
    AlertKind(
        "printer_stopped",
        "warning",
        "Printer stopped",
        "Start the printer again.",
        ("paused", "stopped-partly", "shutdown"),
        debounce=15 * _MINUTE,
    ),
    AlertKind(
        "printer_unreachable",
        "error",
        "Printer unreachable",
        "Check that the printer is switched on and connected.",
        debounce=15 * _MINUTE,
        clear_after=2 * _MINUTE,
    ),
    AlertKind("other", "warning", "Attention needed", "Look at the device.", ("other",), debounce=5 * _MINUTE),
)

KINDS: Final[Mapping[str, AlertKind]] = {kind.name: kind for kind in _ALL_KINDS}
"""All kinds, by name."""

REASONS: Final[Mapping[str, AlertKind]] = {reason: kind for kind in _ALL_KINDS for reason in kind.reasons}
"""The kinds by keyword of ``printer-state-reasons``, without suffix."""


_TITLES: Final = {kind.title.lower().replace(" ", "_"): kind for kind in _ALL_KINDS}


def find_kind(name: str) -> AlertKind:
    """Return the kind with this name.

    Args:
        name: its name or title, with underscores, hyphens or spaces, or a keyword of ``printer-state-reasons``.

    Raises:
        InputError: there is no such kind; the sentence suggests a similar one.
    """
    normalized = re.sub(r"[\s_-]+", "_", name.strip().lower())
    kind = KINDS.get(normalized) or _TITLES.get(normalized) or REASONS.get(normalized.replace("_", "-"))
    if kind is not None:
        return kind
    suggestions = get_close_matches(normalized, KINDS, n=1, cutoff=0.5)
    hint = f" Did you mean {suggestions[0]}?" if suggestions else ""
    raise InputError(f"There is no alert {name[:80]!r}.{hint} The kinds are: {', '.join(KINDS)}.", stage="resolve")

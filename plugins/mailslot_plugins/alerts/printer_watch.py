"""Observes the conditions of an IPP printer (RFC 8011 sections 5.4.11 and 5.4.12)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.errors import MailError
from mailslot_plugins.alerts.kinds import KINDS, REASONS
from mailslot_plugins.alerts.state import ConditionCleared, ConditionRaised, Observation
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.printers.ipp.client import printer_attributes
from mailslot_plugins.printers.ipp.supplies import SUPPLY_ATTRIBUTES, supplies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mailslot_plugins.alerts.kinds import Severity
    from mailslot_plugins.alerts.state import Event
    from mailslot_plugins.printers.ipp.codec import Value

SOURCE: Final = "printer"
LINK: Final = "printer-link"

_ATTRIBUTES: Final = ("printer-state", "printer-state-reasons", "printer-state-message", *SUPPLY_ATTRIBUTES)
_STOPPED: Final = 5
_MAX_REASONS: Final = 50
_SUFFIXES: Final[Mapping[str, Severity]] = {"report": "information", "warning": "warning", "error": "error"}

# Printers use the suffix "report" for conditions that do not stop them; for supplies, people want to know nevertheless.
_SUPPLIES: Final = frozenset(
    {
        *("toner_low", "toner_empty", "waste_toner_almost_full", "waste_toner_full"),
        *("drum_near_end", "drum_end", "paper_low"),
    }
)

# Normal states of a printer, and what somebody told it to do.
_HARMLESS: Final = re.compile(
    r"none|moving-to-paused|stopping|connecting-to-device|identify-printer-requested|resuming|warming-up|standby|"
    r"suspend|hibernate|deactivated|testing|cups-.*|wifi-.*|hold-new-jobs|timed-out"
)


async def observe_printer(uri: str, *, ca_file: Path | None = None) -> tuple[Event, ...]:
    """Query a printer once and return the events.

    If the printer does not answer, its known conditions stay as they are.

    Raises:
        InputError: the address cannot be used.
    """
    unreachable = KINDS["printer_unreachable"]
    try:
        attributes = await printer_attributes(uri, _ATTRIBUTES, ca_file=ca_file)
    except MailError as error:
        if isinstance(error, ValueError):
            raise
        raised = ConditionRaised(
            unreachable.name,
            unreachable.severity,
            detail=str(error),
            source=LINK,
            debounce=unreachable.debounce,
            clear_after=unreachable.clear_after,
        )
        return (raised,)
    return (ConditionCleared(unreachable.name, source=LINK), Observation(SOURCE, tuple(parse_conditions(attributes))))


def parse_conditions(attributes: Mapping[str, tuple[Value, ...]]) -> Iterator[ConditionRaised]:
    """Return the conditions in a printer's attributes.

    A keyword ends with ``-report``, ``-warning`` or ``-error``; without a suffix it is an error if the printer has
    stopped, else a warning (RFC 8011 section 5.4.12).
    """
    stopped = attributes.get("printer-state", ())[:1] == (_STOPPED,)
    found: dict[tuple[str, str], ConditionRaised] = {}
    for value in attributes.get("printer-state-reasons", ())[:_MAX_REASONS]:
        base, _, suffix = str(value).rpartition("-")
        if suffix not in _SUFFIXES:
            base, suffix = str(value), "error" if stopped else "warning"
        if _HARMLESS.fullmatch(base):
            continue
        raised = _condition(base, _SUFFIXES[suffix], attributes)
        found.setdefault((raised.kind, raised.part), raised)
    yield from found.values()


def _condition(reason: str, severity: Severity, attributes: Mapping[str, tuple[Value, ...]]) -> ConditionRaised:
    kind = REASONS.get(reason, KINDS["other"])
    if severity == "information" and kind.name in _SUPPLIES:
        severity = kind.severity
    return ConditionRaised(
        kind.name,
        severity,
        part=one_line(reason, 60) if kind.name == "other" and reason != "other" else "",
        detail=_levels(attributes, fills=kind.name.startswith("waste")) if "toner" in kind.name else "",
        source=SOURCE,
        debounce=kind.debounce,
        clear_after=kind.clear_after,
    )


def _levels(attributes: Mapping[str, tuple[Value, ...]], *, fills: bool) -> str:
    """Return the supplies that are low, or the containers that are nearly full, with their levels."""
    low = [f"{each.name} {each.level} %" for each in supplies(attributes) if each.low and each.fills == fills]
    return one_line(", ".join(low), 200)

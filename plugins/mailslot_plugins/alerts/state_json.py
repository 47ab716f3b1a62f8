"""Converts the state of alerts to JSON and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mailslot_plugins.alerts.state import AlertMail, AlertState, Incident, PendingReport, Report


def as_json(state: AlertState) -> dict[str, Any]:
    """Return the state as JSON values."""
    return asdict(state)


def persistent_part(state: AlertState) -> dict[str, Any]:
    """Return the part of the state that must be saved when it changes: all but the times of the last steps."""
    return {name: value for name, value in as_json(state).items() if name not in {"seen", "mailed"}}


def from_json(stored: dict[str, Any]) -> AlertState:
    """Return the state from JSON values.

    Raises:
        KeyError, TypeError, ValueError: the values were stored by another version.
    """
    return AlertState(
        seen=float(stored["seen"]),
        serial=int(stored["serial"]),
        incidents=tuple(map(_incident, stored["incidents"])),
        outbox=tuple(map(_mail, stored["outbox"])),
        pending=tuple(PendingReport(tuple(each["recipients"]), Report(**each["report"])) for each in stored["pending"]),
        left_out=int(stored["left_out"]),
        mailed=tuple(map(float, stored["mailed"])),
    )


def _incident(stored: dict[str, Any]) -> Incident:
    values: dict[str, Any] = {**stored, "sources": tuple(stored["sources"])}
    return Incident(**values)


def _mail(stored: dict[str, Any]) -> AlertMail:
    values: dict[str, Any] = {
        **stored,
        "recipients": tuple(stored["recipients"]),
        "reports": tuple(Report(**each) for each in stored["reports"]),
    }
    return AlertMail(**values)

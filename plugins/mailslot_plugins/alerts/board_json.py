"""A board as it is kept: in JSON, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mailslot_plugins.alerts.board import Board, Incident, Mail, Pending, Report


def as_json(board: Board) -> dict[str, Any]:
    """Return a board in what JSON can hold."""
    return asdict(board)


def lasting(board: Board) -> dict[str, Any]:
    """Return what of a board is worth writing by itself: the time alone is not."""
    return {name: value for name, value in as_json(board).items() if name not in {"seen", "mailed"}}


def from_json(stored: dict[str, Any]) -> Board:
    """Return the board that JSON holds.

    Raises:
        KeyError: something is missing, for another version has kept it; as do `TypeError` and `ValueError`.
    """
    return Board(
        seen=float(stored["seen"]),
        serial=int(stored["serial"]),
        incidents=tuple(map(_incident, stored["incidents"])),
        outbox=tuple(map(_mail, stored["outbox"])),
        pending=tuple(Pending(tuple(each["recipients"]), Report(**each["report"])) for each in stored["pending"]),
        left_out=int(stored["left_out"]),
        mailed=tuple(map(float, stored["mailed"])),
    )


def _incident(stored: dict[str, Any]) -> Incident:
    values: dict[str, Any] = {**stored, "sources": tuple(stored["sources"])}
    return Incident(**values)


def _mail(stored: dict[str, Any]) -> Mail:
    values: dict[str, Any] = {
        **stored,
        "recipients": tuple(stored["recipients"]),
        "reports": tuple(Report(**each) for each in stored["reports"]),
    }
    return Mail(**values)

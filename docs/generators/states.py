"""The state machines from the library's tables: a diagram of each, and the same as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from generators.diagram import Transition, diagram
from generators.tables import code, table
from mailslot.pop3 import states as pop3
from mailslot.pop3.server import states as pop3_server
from mailslot.smtp import states as smtp
from mailslot.smtp.server import states as smtp_server
from mailslot.spool import job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_State = smtp.State | smtp_server.State | pop3.State | pop3_server.State
_Verb = smtp.Verb | pop3.Verb
_Outcome = smtp.Transition | smtp_server.Transition | pop3.Transition | pop3_server.Transition


def machine(name: str) -> str:
    """Return the diagram and the table of a state machine.

    Args:
        name: ``smtp``, ``smtp-server``, ``pop3``, ``pop3-server`` or ``jobs``.
    """
    title, states, transitions = _MACHINES[name]
    return f"{diagram(title, states, transitions)}\n{_as_table(transitions)}"


def _as_table(transitions: Iterable[Transition]) -> str:
    """Return the transitions as a collapsed table, which screen readers can read."""
    rows: dict[tuple[str, str, bool], list[str]] = {}
    for each in transitions:
        rows.setdefault((each.state, each.to, each.refused), []).append(each.event)
    cells = [
        (code(state), ", ".join(code(event) for event in events) + (" refused" if refused else ""), code(to))
        for (state, to, refused), events in rows.items()
    ]
    made = table(("state", "event", "next state"), cells)
    indented = "".join(f"    {line}\n" for line in made.splitlines())
    return f'??? info "The same as a table"\n\n{indented}'


def _dialogue(answered: Iterable[tuple[tuple[_State, _Verb], _Outcome]], more: str) -> list[Transition]:
    """Return the transitions by replies, in the order of the table."""
    found: list[Transition] = []
    for (state, verb), outcome in answered:
        if outcome.positive is not None:
            found.append(Transition(state.name, verb.value, outcome.positive.name))
        if outcome.intermediate is not None:
            found.append(Transition(state.name, f"{verb.value} {more}", outcome.intermediate.name))
        if outcome.negative is not None and outcome.negative is not outcome.positive:
            found.append(Transition(state.name, verb.value, outcome.negative.name, refused=True))
    return found


def _jobs() -> list[Transition]:
    return [Transition(state, event, to) for state, events in job.TRANSITIONS.items() for event, to in events.items()]


_MACHINES: Final[Mapping[str, tuple[str, Sequence[str], Sequence[Transition]]]] = {
    "smtp": (
        "The states of an SMTP client",
        [state.name for state in smtp.State],
        _dialogue(smtp.TRANSITIONS.items(), "3xx"),
    ),
    "smtp-server": (
        "The states of an SMTP server",
        [state.name for state in smtp_server.State],
        _dialogue(smtp_server.TRANSITIONS.items(), "3xx"),
    ),
    "pop3": (
        "The states of a POP3 client",
        [state.name for state in pop3.State],
        _dialogue(pop3.TRANSITIONS.items(), "challenge"),
    ),
    "pop3-server": (
        "The states of a POP3 server",
        [state.name for state in pop3_server.State],
        _dialogue(pop3_server.TRANSITIONS.items(), "challenge"),
    ),
    "jobs": (
        "The states of a job",
        ["queued", "sending", "in_doubt", "sent", "deferred", "held", "failed", "cancelled"],
        _jobs(),
    ),
}

"""Observes the health of the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.slots.slot import slots_of
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.alerts.state import ConditionRaised, Observation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.health import State
    from mailslot.slots.records import Records

SOURCE: Final = "token"

_KINDS: Final[Mapping[State, str]] = {
    "needs_token": "token_needed",
    "unreadable": "token_needed",
    "needs_administrator": "administrator_needed",
}


async def observe_tokens(records: Records, now: float) -> Observation:
    """Return a condition for each token that needs attention; records with an external token source are skipped."""
    conditions: list[ConditionRaised] = []
    for record, settings in (await run_sync(records.settings.load)).items():
        if settings.authentication != "oauth2" or settings.token_source is not None:
            continue
        _, health = await records.tokens.status(record, settings, now)
        name = None if health is None else _KINDS.get(health.state)
        if health is None or name is None:
            continue
        kind = KINDS[name]
        conditions.append(
            ConditionRaised(
                kind.name,
                kind.severity,
                part=next((slot.id for slot in slots_of(record)), record),
                detail=health.sentence,
                source=SOURCE,
                debounce=kind.debounce,
                clear_after=kind.clear_after,
            )
        )
    return Observation(SOURCE, tuple(conditions))

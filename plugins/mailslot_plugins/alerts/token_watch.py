"""Observes the health of the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.slots.slot import slots_of
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.alerts.state import ConditionRaised, Observation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.health import Health, State
    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings

SOURCE: Final = "token"

_KINDS: Final[Mapping[State, str]] = {
    "needs_token": "token_needed",
    "unreadable": "token_needed",
    "needs_administrator": "administrator_needed",
}


async def observe_tokens(records: Records, now: float, language: str = "en") -> Observation:
    """Return a condition for each token that needs attention; records with an external token source are skipped.

    Args:
        records: the device's records.
        now: the time.
        language: the language of the details.
    """
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
                detail=_detail(health, settings, language),
                source=SOURCE,
                debounce=kind.debounce,
                clear_after=kind.clear_after,
            )
        )
    return Observation(SOURCE, tuple(conditions))


def _detail(health: Health, settings: Settings, language: str) -> str:
    """Return what is wrong; the stored sentence, which has more details, is English."""
    if language == "en" or health.cause is None:
        return health.sentence
    return explain(Diagnosis(health.cause, {"account": settings.account or ""}), language).message

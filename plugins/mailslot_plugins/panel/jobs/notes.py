"""The notes of a job for people: with names and values in the language of the page."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from mailslot_plugins.panel.pipelines import pipeline_text
from mailslot_plugins.panel.render import format_time
from mailslot_plugins.panel.slots.names import slot_name
from mailslot_plugins.panel.translations import load_texts, translate
from mailslot_plugins.sending.confirmation import RECIPIENT_NOTE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.slots.slot import Slot
    from mailslot.spool.job import Job


def named_notes(job: Job, slots: Iterable[Slot], language: str) -> list[tuple[str, str]]:
    """Return the notes that have a name, as names and values; the others are for engineers.

    A pipeline names a note in its words, by ``note_NAME``, and a value by ``NAME_VALUE``.

    Args:
        job: the job.
        slots: the device's slots.
        language: one of the panel's.
    """
    names = {slot.id: slot_name(slot, language) for slot in slots}
    found: list[tuple[str, str]] = []
    for key, value in job.notes.items():
        name = _text(job, f"note_{key}", language)
        if key.startswith(RECIPIENT_NOTE):
            status, _, more = value.partition(": ")
            shown = _text(job, f"confirmation_{status}", language) or status
            name = translate("jobs", "note_report", language, address=key.removeprefix(RECIPIENT_NOTE))
            found.append((name, f"{shown}: {more}" if more else shown))
        elif name and value:
            shown = _text(job, f"{key}_{value.replace(' ', '_')}", language) or names.get(value) or _time(value)
            found.append((name, shown or value))
    return found


def _text(job: Job, key: str, language: str) -> str | None:
    """Return a text of the page or of the job's pipeline; None if there is none."""
    if key in load_texts("jobs"):
        return translate("jobs", key, language)
    return pipeline_text(job.pipeline, key, language)


def _time(value: str) -> str:
    """Return a point in time as the page shows it; empty if the value is not one."""
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return ""
    return "" if at.tzinfo is None else format_time(at.timestamp())

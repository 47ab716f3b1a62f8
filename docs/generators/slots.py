"""The slots."""

from __future__ import annotations

from generators.tables import code, table
from mailslot.slots.slot import SLOTS, slots_of


def all_slots() -> str:
    """Return the slots as a table in Markdown."""
    return table(
        ("slot", "on the panel", "protocol", "record"),
        [
            (
                code(each.id),
                each.path,
                each.protocol,
                code(each.record) + (", shared" if len(slots_of(each.record)) > 1 else ""),
            )
            for each in SLOTS
        ],
    )

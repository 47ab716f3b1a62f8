"""Commands that a person is told to type."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from mailslot.cli.home import home_folder

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.slots.slot import Slot

_PLAIN: Final = re.compile(r"[\w@%+=:,./…-]+")
"""What a shell takes as it is; `…` stands for what the person has to fill in."""


def suggested_command(home: Path, *words: str) -> str:
    """Return a command of mailslot as a person types it in a shell, with the home folder if it is not the usual one.

    Args:
        home: the home folder that the command is for.
        words: the command, and its arguments.
    """
    above = () if home == home_folder(None) else ("--home", str(home))
    return " ".join(_quoted(word) for word in ("mailslot", *above, *words))


def repairing_command(home: Path, slot: Slot, explanation: Explanation) -> str:
    """Return the command by which the person at the device mends a fault of a slot; empty where none does."""
    if explanation.settings:
        return suggested_command(home, "set", slot.id, *explanation.settings)
    if explanation.token_helps:
        flow = ("--flow", "browser") if explanation.cause == "device_code_blocked" else ()
        return suggested_command(home, "token", "get", slot.id, *flow)
    return ""


def _quoted(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else shlex.quote(word)

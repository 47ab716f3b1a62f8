"""``mailslot slots``, as typer reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mailslot.cli.settings import AsJson
from mailslot.cli.slot_list import print_slots

if TYPE_CHECKING:
    from pathlib import Path


def slots(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show every slot and account: its sign-in, token and last test.

    Examples:
        mailslot slots
    """
    home: Path = context.obj
    print_slots(home, as_json=as_json)

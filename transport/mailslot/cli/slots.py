"""``mailslot slots``, for typer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailslot.cli.settings import AsJson
from mailslot.cli.slot_list import print_slots

if TYPE_CHECKING:
    from mailslot.home.home import Home


def slots(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    long: Annotated[bool, typer.Option("--long", help="Also show where each is on the panel, and its record.")] = False,
) -> None:
    """Show every slot and account: its sign-in, token and last test.

    Slots of one record have the same settings and the same token.

    Examples:
        mailslot slots
        mailslot slots --long
    """
    home: Home = context.obj
    print_slots(home, as_json=as_json, long=long)

"""The language in which a command explains errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mailslot.slots.records import Records


def chosen_language(records: Records, asked: str | None) -> str:
    """Return the language that was asked for, or the device's own.

    Raises:
        BadParameter: there is no such language.
    """
    from mailslot.diagnosis.catalogue import languages  # noqa: PLC0415 - only where something is said
    from mailslot.errors import MailError  # noqa: PLC0415 - likewise
    from mailslot.slots.section import DEVICE  # noqa: PLC0415 - likewise

    if asked is not None:
        if asked not in languages():
            raise typer.BadParameter(f"{asked!r} is none of {', '.join(languages())}", param_hint="--language")
        return asked
    try:
        return str(records.settings.section(DEVICE)["language"])
    except MailError:
        # The command itself reports the unreadable settings.
        return "en"

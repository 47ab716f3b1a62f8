"""What can be set of an IMAP maildrop, in a record's ``maildrop_options``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.slots import keys
from mailslot.slots.keys import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIONS: Final[Mapping[str, Key]] = {
    "folder": Key("the name of a folder", keys.text, default="INBOX"),
    "move_to": Key("the name of a folder", keys.text),
    "mark_seen": Key("true or false", keys.flag, default=False),
    "push": Key("true or false", keys.flag, default=True),
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options.

    Attributes:
        folder: where mail is fetched from.
        move_to: where mail is moved that would else be deleted; None to delete it.
        mark_seen: whether mail that was fetched is marked as read.
        push: whether the server is to tell when mail comes.
    """

    folder: str
    move_to: str | None
    mark_seen: bool
    push: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """Return what is set, with defaults, as `mailslot.slots.maildrop.options_of` gives it.

        Raises:
            InputError: mail would be moved to where it is, and come as new mail each time.
        """
        folder = _name(values["folder"])
        move_to = None if values["move_to"] is None else _name(values["move_to"])
        if folder == move_to:
            raise InputError(
                f"Mail cannot be moved from the folder {folder} to itself: set another move_to.",
                stage="resolve",
                cause="not_configured",
            )
        return cls(folder, move_to, values["mark_seen"], values["push"])


def _name(folder: str) -> str:
    """Return a folder's name as it is compared; INBOX is the same in any case (RFC 9051 section 5.1)."""
    return "INBOX" if folder.upper() == "INBOX" else folder

"""The options of an IMAP maildrop, in a record's ``maildrop_options``."""

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
        folder: the folder from which mail is fetched.
        move_to: the folder to which mail is moved instead of being deleted; None to delete it.
        mark_seen: whether fetched mail is marked as read.
        push: whether the server is to report new mail.
    """

    folder: str
    move_to: str | None
    mark_seen: bool
    push: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """Return the options from the values of `mailslot.slots.maildrop.options_of`.

        Raises:
            InputError: ``move_to`` is the folder itself, so that mail would be fetched again and again.
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
    """Return the canonical name of a folder: INBOX is not case-sensitive (RFC 9051 section 5.1)."""
    return "INBOX" if folder.upper() == "INBOX" else folder

"""The table ``[fax]`` of ``mailslot.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import InputError, Key, Section, keys
from mailslot.smtp.address import parse_address
from mailslot_plugins.intake.senders import MAX_LISTED, sender_list
from mailslot_plugins.printers.printer import is_address, sets_printer, used_printers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.slots.keys import SetterRole


def _destination(value: object) -> str:
    """Return ``folder PATH``, ``printer ADDRESS`` or ``mail ADDRESS``."""
    way, _, where = keys.text(value).partition(" ")
    way, where = way.lower(), where.strip()
    if way == "mail":
        try:
            where = parse_address(where, "recipient").original
        except InputError:
            raise ValueError from None
    elif way not in {"folder", "printer"} or not where or (way == "printer" and not is_address(where)):
        raise ValueError
    return f"{way} {where}"


def _used_printers(destinations: Iterable[str]) -> list[tuple[str, str]]:
    ways = [destination.partition(" ") for destination in destinations]
    return [each for way, _, where in ways if way == "printer" for each in used_printers(where)]


def _set_by(destination: str) -> SetterRole:
    """Return who may set a place for received faxes: files are written into a folder, whichever it is."""
    way, _, where = destination.partition(" ")
    if way == "printer":
        return sets_printer(where)
    return "local" if way == "folder" else "api_key"


FAX: Final = Section(
    "fax",
    {
        "resolution": Key("fine or standard", keys.one_of("fine", "standard"), default="fine"),
        "coding": Key(
            "auto or MH: whether recipients that have said so are sent the shorter MMR",
            keys.one_of("auto", "mh"),
            default="auto",
        ),
        "header_line": Key(
            "on or off: whether each page says who sends it, when, and which page it is", keys.flag, default=True
        ),
        "own_number": Key("a text on one line that stands in that line, such as +1 202 765 3000", keys.text),
        "confirmation": Key("on or off: whether reports are asked for without --confirm", keys.flag, default=False),
        "max_pages": Key("a number from 1 to 500", keys.number(1, 500), default=200),
        "lifetime": Key("hours from 1 to 168 for which it is tried to send a fax", keys.number(1, 168), default=24),
        "deliver_to": Key(
            "folder PATH, printer ADDRESS or mail ADDRESS, several with semicolons between: where received faxes go",
            keys.list_of(_destination, r"\s*;\s*"),
            default=("folder fax",),
            plugins=_used_printers,
            set_by=_set_by,
        ),
        "ca_file": Key(
            "the path of a file with certificates, for printers by ipps; without it, their first certificate is kept",
            keys.path,
            set_by="local",
        ),
        "format": Key("pdf or tiff, of faxes in folders and mails", keys.one_of("pdf", "tiff"), default="pdf"),
        "cover": Key(
            "on or off: whether a page with sender and subject goes before a received fax", keys.flag, default=False
        ),
        "allowed_senders": Key(
            f"up to {MAX_LISTED} addresses or @domains from which faxes are taken; without any, all are",
            sender_list(),
            default=(),
        ),
        "rejected_senders": Key(
            f"up to {MAX_LISTED} addresses or @domains from which no faxes are taken", sender_list(), default=()
        ),
        "receipts": Key(
            "on or off: whether senders in allowed_senders that ask for it are told that a fax was printed, or was not",
            keys.flag,
            default=False,
        ),
        "answer_failures": Key(
            "on or off: whether senders in allowed_senders are told that a fax could not be printed",
            keys.flag,
            default=False,
        ),
        "thumbnails": Key(
            "true or false: whether a small picture of the first page is kept for the panel", keys.flag, default=True
        ),
    },
)
"""The table ``[fax]``."""

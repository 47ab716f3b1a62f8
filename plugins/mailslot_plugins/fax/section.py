"""The table ``[fax]`` of ``mailslot.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import Key, Section, keys
from mailslot.smtp.address import parse_address
from mailslot_plugins.intake.senders import MAX_LISTED, sender_list
from mailslot_plugins.printers.printer import is_printer_address, printer_plugins, printer_set_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.slots.keys import SetterRole


def _parse_destination(value: object) -> str:
    """Return ``folder PATH``, ``printer ADDRESS`` or ``mail ADDRESS``."""
    destination_kind, _, target = keys.text(value).partition(" ")
    destination_kind, target = destination_kind.lower(), target.strip()
    if destination_kind == "mail":
        target = parse_address(target, "recipient").original
    elif (
        destination_kind not in {"folder", "printer"}
        or not target
        or (destination_kind == "printer" and not is_printer_address(target))
    ):
        raise ValueError
    return f"{destination_kind} {target}"


def _destination_printers(destinations: Iterable[str]) -> list[tuple[str, str]]:
    parts = [destination.partition(" ") for destination in destinations]
    return [
        each
        for destination_kind, _, target in parts
        if destination_kind == "printer"
        for each in printer_plugins(target)
    ]


def _set_by(destination: str) -> SetterRole:
    """Return who may set a destination: a folder only locally, because files are written into it."""
    destination_kind, _, target = destination.partition(" ")
    if destination_kind == "printer":
        return printer_set_by(target)
    return "local" if destination_kind == "folder" else "api_key"


SECTION: Final = Section(
    "fax",
    {
        "resolution": Key("fine or standard", keys.one_of("fine", "standard"), default="fine"),
        "coding": Key(
            "auto or MH: auto sends the shorter MMR to recipients that are known to accept it",
            keys.one_of("auto", "mh"),
            default="auto",
        ),
        "header_line": Key(
            "on or off: whether each page begins with the sender, the time and the page number", keys.flag, default=True
        ),
        "own_number": Key("a text for that line, for example +1 202 765 3000", keys.text),
        "confirmation": Key("on or off: whether reports are requested without --confirm", keys.flag, default=False),
        "max_pages": Key("a number from 1 to 500", keys.number(1, 500), default=200),
        "lifetime": Key("hours from 1 to 168 for which sending a fax is tried", keys.number(1, 168), default=24),
        "deliver_to": Key(
            "where received faxes go: folder PATH, printer ADDRESS or mail ADDRESS, separated by semicolons",
            keys.list_of(_parse_destination, r"\s*;\s*"),
            default=("folder fax",),
            plugins=_destination_printers,
            set_by=_set_by,
            forms=(("folder", "folder "), (keys.NETWORK_PRINTER, "printer "), ("mail", "mail ")),
        ),
        "ca_file": Key(
            "the path of a file with certificates, for ipps printers; without it, their first certificate is trusted",
            keys.path,
            set_by="local",
        ),
        "format": Key(
            "pdf or tiff: the format of faxes in folders and mails", keys.one_of("pdf", "tiff"), default="pdf"
        ),
        "cover": Key(
            "on or off: whether a received fax begins with a page that shows sender and subject",
            keys.flag,
            default=False,
        ),
        "allowed_senders": Key(
            f"up to {MAX_LISTED} addresses or @domains from which faxes are accepted; without any, all are",
            sender_list(),
            default=(),
        ),
        "rejected_senders": Key(
            f"up to {MAX_LISTED} addresses or @domains from which no faxes are accepted", sender_list(), default=()
        ),
        "receipts": Key(
            "on or off: whether senders in allowed_senders get a receipt if they request one",
            keys.flag,
            default=False,
        ),
        "answer_failures": Key(
            "on or off: whether senders in allowed_senders are notified that a fax could not be printed",
            keys.flag,
            default=False,
        ),
        "thumbnails": Key(
            "true or false: whether a small picture of the first page is kept for the panel", keys.flag, default=True
        ),
    },
)
"""The table ``[fax]``."""

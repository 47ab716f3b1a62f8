"""The settings of scan-to-email, ``[scan]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from mailslot.plugin import Key, Section, keys
from mailslot_plugins.addressbook.book import is_name
from mailslot_plugins.addressbook.entry import parse_name
from mailslot_plugins.scan.patterns import Pattern
from mailslot_plugins.sending.recipients import parse_mailboxes, split_list

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal


def _pattern(kind: Literal["subject", "file name"]) -> Callable[[object], str]:
    def parse(value: object) -> str:
        return Pattern(keys.text(value), kind).text

    return parse


def _addresses(value: object) -> tuple[str, ...]:
    if not isinstance(value, str | list):
        raise ValueError  # noqa: TRY004 - what `Key.parse` raises
    parts = [keys.text(text) for text in ([value] if isinstance(value, str) else cast("list[object]", value))]
    split = [part for text in parts for part in split_list(text)]
    if not split:
        raise ValueError
    names = [f"@{parse_name(part)}" for part in split if is_name(part)]
    found = parse_mailboxes(part for part in split if not is_name(part))
    return (*(f'"{each.name}" <{each.address}>' if each.name else each.address for each in found), *names)


SECTION: Final = Section(
    "scan",
    {
        "subject": Key(
            "a text on one line, with placeholders {device}, {date} and so on",
            _pattern("subject"),
            default="Scan from {device}",
        ),
        "text": Key("a text on one line", keys.text, default=""),
        "name": Key(
            "a file name without suffix, with placeholders {device}, {date}, {time}, {counter} and so on; "
            "if not set, files keep their names",
            _pattern("file name"),
        ),
        "oversize": Key(
            "refuse, or split into several complete mails",
            keys.one_of("refuse", "split"),
            default="refuse",
        ),
        "max_size": Key("octets of a mail from 10000 to 999999999", keys.number(10_000, 999_999_999)),
        "max_recipients": Key("a number from 1 to 1000", keys.number(1, 1000), default=100),
        "lifetime": Key("hours from 1 to 720", keys.number(1, 720), default=24),
        "folder": Key("the path of a folder whose files become scans", keys.path, set_by="local", needs_service=True),
        "to": Key(
            "one or several e-mail addresses for the folder's files, or names of the address book such as @accounting",
            _addresses,
            default=(),
            suggested_by="addressbook",
        ),
        "scanner": Key(
            "the SANE name of the scanner that the panel scans from, such as airscan:e0:Office",
            keys.text,
            set_by="administrator",
        ),
        "scanner_source": Key(
            "where the scanner takes the paper from: adf, flatbed, duplex or its own name for a source",
            keys.text,
            set_by="administrator",
        ),
        "after": Key(
            "delete or move: what happens to a file of the folder once its scan is accepted; moved files are in the "
            "folder `done`",
            keys.one_of("delete", "move"),
            default="delete",
        ),
        "settle": Key("seconds from 1 to 600 for which a file must stay unchanged", keys.number(1, 600), default=3),
    },
)
"""The table ``[scan]``."""

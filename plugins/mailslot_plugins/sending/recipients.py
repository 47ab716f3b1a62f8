"""Lists of addresses as people write them, with every bad one named at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.message import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterable

# A comma or semicolon that stands neither between quotation marks nor in angle brackets.
_SEPARATOR: Final = re.compile(r'[,;](?=(?:[^"]*"[^"]*")*[^"]*$)(?![^<]*>)')
_NAMED: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^"<>]*?))\s*<([^<>]*)>\s*')
_WHY: Final = re.compile(r"cannot be used: (.*?)\.?$")


def parse_mailbox(text: str, what: str = "recipient") -> Mailbox:
    """Return ``name@domain`` or ``Name <name@domain>`` as a mailbox.

    Raises:
        InputError: it is none.
    """
    if match := _NAMED.fullmatch(text):
        quoted, plain, address = match.groups()
        name = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        return Mailbox(address.strip(), name, what=what)
    return Mailbox(text.strip(), what=what)


def parse_mailboxes(texts: Iterable[str]) -> tuple[Mailbox, ...]:
    """Return the mailboxes of lists with commas or semicolons, each address once, in their order.

    Raises:
        InputError: some are none; all of them are named.
    """
    found: dict[str, Mailbox] = {}
    faults: list[str] = []
    for text in texts:
        for part in _SEPARATOR.split(text):
            if not part.strip():
                continue
            try:
                mailbox = parse_mailbox(part)
            except InputError as error:
                why = _WHY.search(str(error))
                faults.append(f"{_shown(part)} ({why[1] if why else str(error).rstrip('.')})")
            else:
                found.setdefault(_same(mailbox), mailbox)
    if faults:
        which = "This address" if len(faults) == 1 else f"These {len(faults)} addresses"
        raise InputError(f"{which} cannot be used: {'; '.join(faults)}. Nothing was sent.", stage="envelope")
    return tuple(found.values())


def once(to: Iterable[Mailbox], cc: Iterable[Mailbox]) -> tuple[tuple[Mailbox, ...], tuple[Mailbox, ...]]:
    """Return both with nobody in twice; who is in both stays in the first."""
    first = {_same(mailbox): mailbox for mailbox in to}
    return tuple(first.values()), tuple(mailbox for mailbox in cc if _same(mailbox) not in first)


def _same(mailbox: Mailbox) -> str:
    # The local part is the receiver's own affair (RFC 5321 section 2.4); the domain knows no case.
    local, _, domain = mailbox.wire.rpartition("@")
    return f"{local}@{domain.lower()}"


def _shown(part: str) -> str:
    said = ascii(part.strip())
    return said if len(said) <= 80 else f"{said[:79]}…"

"""Parses lists of addresses as people write them; one error names all bad addresses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.message import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterable

# The text between commas and semicolons outside of quotation marks and angle brackets. The quantifiers are possessive,
# so that matching takes linear time.
_PART: Final = re.compile(r'(?:"(?:[^"\\]|\\.?)*+(?:"|\Z)|<(?:"(?:[^"\\]|\\.)*+"|[^<>"])*+>|[^,;"])++', re.DOTALL)
_NAME_AND_ADDRESS: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^"<>]*?))\s*<([^<>]*)>\s*')
_REASON: Final = re.compile(r"cannot be used: (.*?)\.?$")


def split_list(text: str) -> list[str]:
    """Return the parts of a list separated by commas or semicolons, without empty ones."""
    return [part.strip() for part in _PART.findall(text) if part.strip()]


def parse_mailbox(text: str, what: str = "recipient") -> Mailbox:
    """Return ``name@domain`` or ``Name <name@domain>`` as a mailbox.

    Raises:
        InputError: it is not a mailbox.
    """
    if match := _NAME_AND_ADDRESS.fullmatch(text):
        quoted, plain, address = match.groups()
        name = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        return Mailbox(address.strip(), name, role=what)
    return Mailbox(text.strip(), role=what)


def parse_mailboxes(texts: Iterable[str]) -> tuple[Mailbox, ...]:
    """Return the mailboxes in lists separated by commas or semicolons, each address once, in order.

    Raises:
        InputError: some are not mailboxes; the sentence names all of them.
    """
    found: dict[str, Mailbox] = {}
    bad_addresses: list[str] = []
    for text in texts:
        for part in split_list(text):
            try:
                mailbox = parse_mailbox(part)
            except InputError as error:
                why = _REASON.search(str(error))
                reason = why[1] if why else str(error).rstrip(".")
                if "@" not in part:
                    reason = "it is not of the form name@domain, and names of the address book begin with @"
                bad_addresses.append(f"{_quote(part)} ({reason})")
            else:
                found.setdefault(_comparison_key(mailbox), mailbox)
    if bad_addresses:
        subject = "This address" if len(bad_addresses) == 1 else f"These {len(bad_addresses)} addresses"
        raise InputError(f"{subject} cannot be used: {'; '.join(bad_addresses)}. Nothing was sent.", stage="envelope")
    return tuple(found.values())


def remove_duplicates(to: Iterable[Mailbox], cc: Iterable[Mailbox]) -> tuple[tuple[Mailbox, ...], tuple[Mailbox, ...]]:
    """Return both lists without duplicates; an address in both stays in the first."""
    first = {_comparison_key(mailbox): mailbox for mailbox in to}
    return tuple(first.values()), tuple(mailbox for mailbox in cc if _comparison_key(mailbox) not in first)


def _comparison_key(mailbox: Mailbox) -> str:
    # Local parts are case-sensitive (RFC 5321 section 2.4), domains are not.
    local, _, domain = mailbox.wire.rpartition("@")
    return f"{local}@{domain.lower()}"


def _quote(part: str) -> str:
    quoted_part = ascii(part.strip())
    return quoted_part if len(quoted_part) <= 80 else f"{quoted_part[:79]}…"

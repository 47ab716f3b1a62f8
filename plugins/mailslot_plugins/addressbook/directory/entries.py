"""Converts entries of a directory to entries of the address book."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot_plugins.addressbook.entry import MAX_ADDRESSES, MAX_DISPLAY_NAME, Entry, make_entry
from mailslot_plugins.fax.address import fax_address
from mailslot_plugins.sending.recipients import parse_mailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mailslot_plugins.addressbook.directory.source import Source

_NOT_IN_NUMBER: Final = re.compile(r"[\s().\-/]+|\(0\)")


def entry_of(source: Source, values: Mapping[str, Sequence[bytes]]) -> Entry | None:
    """Return an entry; None if it has no valid one-touch name or no valid address.

    Args:
        source: the directory.
        values: the values of its attributes, by name in lower case.
    """
    schema = source.schema

    def texts(attribute: str) -> list[str]:
        return [value.decode("utf-8", "replace") for value in values.get(attribute.lower(), ())]

    names, display_names = texts(schema.name), texts(schema.display_name)
    addresses = _usable(texts(schema.mail), lambda text: parse_mailbox(text).address)
    numbers = texts(schema.fax) if source.fax_gateway else []
    faxes = _usable(numbers, lambda text: fax_address(f"FAX={_NOT_IN_NUMBER.sub('', text)}@{source.fax_gateway}"))
    if not names:
        return None
    try:
        return make_entry(names[0], _shown(display_names), addresses, faxes)
    except InputError:
        return None


def _shown(texts: Sequence[str]) -> str:
    """Return the first display name, on one line; empty without one."""
    if not texts:
        return ""
    text = " ".join(texts[0].split())[:MAX_DISPLAY_NAME]
    return text if text.isprintable() else ""


def _usable(texts: Iterable[str], parse: Callable[[str], str]) -> list[str]:
    """Return the valid addresses. The others are left out, since nobody at this device can correct a directory."""
    found: list[str] = []
    for text in texts:
        try:
            found.append(parse(text))
        except InputError:
            continue
    return found[:MAX_ADDRESSES]

"""An entry of the address book, and its names."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot_plugins.fax.address import fax_address
from mailslot_plugins.sending.recipients import parse_mailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_NAME: Final = 64
MAX_DISPLAY_NAME: Final = 200
MAX_ADDRESSES: Final = 100
"""The most addresses of a kind, and the most groups, of one entry."""

_NAME: Final = re.compile(r"\w[\w.+-]*")
_NOT_IN_NAME: Final = re.compile(r"[^\w+]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A person or a machine; made by `make_entry`.

    Attributes:
        name: its one-touch name, which people type as ``@name``.
        display_name: its name in a mail's header; may be empty.
        addresses: its mail addresses.
        fax_addresses: its fax addresses.
        groups: the names of the groups that it belongs to.
    """

    name: str
    display_name: str = ""
    addresses: tuple[str, ...] = ()
    fax_addresses: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "name": self.name,
            "display_name": self.display_name,
            "addresses": list(self.addresses),
            "fax_addresses": list(self.fax_addresses),
            "groups": list(self.groups),
        }

    @classmethod
    def from_document(cls, values: Mapping[str, Any]) -> Entry:
        """Return the entry that `document` was called on."""
        return cls(
            values["name"],
            values["display_name"],
            tuple(values["addresses"]),
            tuple(values["fax_addresses"]),
            tuple(values["groups"]),
        )


def make_entry(
    name: str,
    display_name: str = "",
    addresses: Iterable[str] = (),
    fax_addresses: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> Entry:
    """Return an entry from a person's input.

    Raises:
        InputError: a value is not allowed; ``key`` names it.
    """
    made = Entry(
        parse_name(name),
        _display_name(display_name),
        _each(addresses, "addresses", lambda text: parse_mailbox(text).address),
        _each(fax_addresses, "fax_addresses", fax_address),
        _each(groups, "groups", lambda text: parse_name(text, "groups")),
    )
    if not made.addresses and not made.fax_addresses:
        raise InputError(f"The entry {made.name} has no address.", stage="envelope", key="addresses")
    return made


def parse_name(text: str, key: str = "name") -> str:
    """Return a one-touch name, or the name of a group, in the form in which it is stored.

    Args:
        text: the name, with or without ``@``, in upper or lower case.
        key: the name of the value, for the error.

    Raises:
        InputError: it is not a valid name.
    """
    found = unicodedata.normalize("NFKC", text.strip()).casefold().removeprefix("@")
    if len(found) > MAX_NAME or not _NAME.fullmatch(found):
        raise InputError(
            f"The name {text.strip()[:80]!r} cannot be used: it must have letters, digits, dots and hyphens only, "
            f"{MAX_NAME} at most, and begin with a letter or digit.",
            stage="envelope",
            key=key,
        )
    return found


def name_from(display_name: str) -> str:
    """Return the one-touch name for a display name such as ``Alice Example``; empty if it has no usable character."""
    text = unicodedata.normalize("NFKC", display_name).casefold()
    return _NOT_IN_NAME.sub("-", text).strip("-+_")[:MAX_NAME].rstrip("-")


def _display_name(text: str) -> str:
    found = " ".join(text.split())
    if len(found) > MAX_DISPLAY_NAME or not found.isprintable():
        raise InputError(
            f"The display name {found[:80]!r} cannot be used: it must be a text on one line, of "
            f"{MAX_DISPLAY_NAME} characters at most.",
            stage="envelope",
            key="display_name",
        )
    return found


def _each(texts: Iterable[str], key: str, parse: Callable[[str], str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for text in texts:
        if not text.strip():
            continue
        try:
            parsed = parse(text)
        except InputError as error:
            raise InputError(str(error), stage="envelope", key=key) from None
        found.setdefault(parsed.casefold(), parsed)
    if len(found) > MAX_ADDRESSES:
        raise InputError(
            f"An entry can have {MAX_ADDRESSES} {key.replace('_', ' ')} at most.", stage="envelope", key=key
        )
    return tuple(found.values())

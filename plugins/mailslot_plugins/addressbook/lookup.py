"""Looking up names in the address book and in the directory behind it.

The address book of the device comes first: a name that is in it is not searched in the directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot_plugins.addressbook.book import AddressBook, is_name, load_book
from mailslot_plugins.addressbook.entry import parse_name
from mailslot_plugins.sending.recipients import split_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.plugin import Device


async def with_names(device: Device, book: AddressBook, names: Iterable[str]) -> AddressBook:
    """Return the address book together with the directory's entries for those of the names that it lacks.

    Args:
        device: the device.
        book: its address book.
        names: names of entries or groups.

    Raises:
        InputError: a name is malformed.
        DirectoryError: the directory could not be searched.
    """
    missing = {parse_name(name) for name in names} - {*book.entries, *book.groups}
    if not missing:
        return book
    # Imported here, since most devices have no directory.
    from mailslot_plugins.addressbook.directory.directory import directory_of  # noqa: PLC0415
    from mailslot_plugins.addressbook.directory.directory_error import DirectoryError  # noqa: PLC0415

    directory, found = directory_of(device), dict(book.entries)
    for name in sorted(missing):
        try:
            entry = await directory.find_name(name)
        except DirectoryError as error:
            raise DirectoryError(
                f"@{name} cannot be looked up. {error}",
                stage=error.stage,
                cause=error.cause,
                retryable=error.retryable,
                detail=error.detail,
            ) from error
        if entry is not None:
            found[name] = entry
    return book if len(found) == len(book.entries) else AddressBook(found)


async def expand_names(device: Device, texts: Iterable[str], *, fax: bool = False) -> list[str]:
    """Return lists of addresses with each ``@name`` replaced; the book is read only if there is such a name.

    Args:
        device: the device.
        texts: lists separated by commas or semicolons.
        fax: whether the fax addresses are wanted.

    Raises:
        InputError: a name does not exist, or has no such address.
        DirectoryError: a name is not in the address book, and the directory could not be searched.
    """
    given = list(texts)
    names = [part for text in given for part in split_list(text) if is_name(part)]
    if not names:
        return given
    return (await with_names(device, await load_book(device), names)).expand(given, fax=fax)


async def expand_name(device: Device, text: str) -> str:
    """Return the first mail address of the entry that a ``@name`` names; any other text is returned as it is.

    Raises:
        InputError: the name does not exist, has no mail address, or is a group's.
        DirectoryError: as for `expand_names`.
    """
    if not is_name(text):
        return text
    book = await with_names(device, await load_book(device), [text])
    if len(book.members(text)) > 1:
        raise InputError(f"{text.strip()} is a group, and one person is wanted.", stage="envelope", key="name")
    return book.addresses(text)[0]

"""The address book of a device: its entries, the addresses of a name, and changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.slots.gateway.fax_numbers import fax_number
from mailslot.slots.gateway.patterns import matches
from mailslot.slots.keys import suggestion
from mailslot.smtp.address import parse_address
from mailslot_plugins.addressbook.entry import Entry, parse_name
from mailslot_plugins.addressbook.stored_book import StoredBook
from mailslot_plugins.sending.recipients import split_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from mailslot.plugin import Device

MAX_ENTRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes by an import, as sorted lists of names.

    Attributes:
        added, changed, removed, unchanged: the names of these entries.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    def document(self) -> dict[str, list[str]]:
        """Return it as JSON."""
        return {
            "added": list(self.added),
            "changed": list(self.changed),
            "removed": list(self.removed),
            "unchanged": list(self.unchanged),
        }


class AddressBook:
    """A snapshot of the address book.

    Args:
        entries: the entries, by name.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries: Final = dict(sorted(entries.items()))

    @property
    def groups(self) -> list[str]:
        """The names of all groups, sorted."""
        return sorted({group for entry in self.entries.values() for group in entry.groups})

    def members(self, name: str) -> list[Entry]:
        """Return the entry with this name, or the entries of the group with this name.

        Raises:
            InputError: there is neither.
        """
        wanted = parse_name(name)
        found = [entry for entry in self.entries.values() if entry.name == wanted or wanted in entry.groups]
        if not found:
            hint = suggestion(wanted, [*self.entries, *self.groups])
            raise InputError(f"There is no @{wanted} in the address book.{hint}", stage="envelope", key="name")
        return found

    def addresses(self, name: str, *, fax: bool = False) -> list[str]:
        """Return the addresses of an entry or group, as ``Name <address>``; for a fax, the bare fax addresses.

        Members of a group that have no such address are left out.

        Raises:
            InputError: there is no such name, or it has no such address.
        """
        members = self.members(name)
        found = [
            address if fax else _with_name(entry, address)
            for entry in members
            for address in (entry.fax_addresses if fax else entry.addresses)
        ]
        if not found:
            kind = "fax address" if fax else "mail address"
            raise InputError(f"@{parse_name(name)} has no {kind} in the address book.", stage="envelope", key="name")
        return list(dict.fromkeys(found))

    def expand(self, texts: Iterable[str], *, fax: bool = False) -> list[str]:
        """Return lists of addresses with each ``@name`` replaced by its addresses.

        Raises:
            InputError: as for `addresses`.
        """
        found: list[str] = []
        for text in texts:
            for part in split_list(text):
                found += self.addresses(part, fax=fax) if is_name(part) else [part]
        return found

    def names_of(self, address: str, *, denied: bool = False) -> AbstractSet[str]:
        """Return the names of the entries that have a mail or fax address, and of their groups.

        Args:
            address: the address.
            denied: whether the names are for a rule that refuses; see `mailslot.slots.gateway.patterns.matches`.
        """
        canonical = normalized(address)
        found = set(self._names_by_address.get(canonical, ()))
        if (number := fax_number(canonical.rpartition("@")[0])) is not None:
            for own in self._fax_addresses_by_number.get(number.digits, ()):
                if matches([normalized(own)], address, denied=denied):
                    found |= self._names_by_address[normalized(own)]
        return found

    @cached_property
    def _names_by_address(self) -> Mapping[str, AbstractSet[str]]:
        found: dict[str, set[str]] = {}
        for entry in self.entries.values():
            for address in (*entry.addresses, *entry.fax_addresses):
                found.setdefault(normalized(address), set()).update((entry.name, *entry.groups))
        return found

    @cached_property
    def _fax_addresses_by_number(self) -> Mapping[str, AbstractSet[str]]:
        found: dict[str, set[str]] = {}
        for entry in self.entries.values():
            for address in entry.fax_addresses:
                if (number := fax_number(normalized(address).rpartition("@")[0])) is not None:
                    found.setdefault(number.digits, set()).add(address)
        return found

    def changes(self, new: Iterable[Entry], *, replace_all: bool = False) -> Changes:
        """Return the changes if these entries were put into the book.

        Args:
            new: the entries; one with a known name replaces that entry.
            replace_all: whether all other entries are removed.

        Raises:
            InputError: the book would have too many entries, or an entry and a group would have the same name.
        """
        wanted = {entry.name: entry for entry in new}
        after = wanted if replace_all else self.entries | wanted
        if len(after) > MAX_ENTRIES:
            raise InputError(
                f"The address book would have {len(after)} entries; {MAX_ENTRIES} are possible.", stage="envelope"
            )
        both = sorted({group for entry in after.values() for group in entry.groups} & after.keys())
        if both:
            raise InputError(
                f"@{both[0]} would be an entry and a group: give one of them another name.",
                stage="envelope",
                key="name" if both[0] in wanted else "groups",
            )
        known = self.entries
        return Changes(
            added=tuple(sorted(wanted.keys() - known.keys())),
            changed=tuple(sorted(name for name in wanted if name in known and known[name] != wanted[name])),
            removed=tuple(sorted(known.keys() - after.keys())),
            unchanged=tuple(sorted(name for name in wanted if known.get(name) == wanted[name])),
        )


async def load_book(device: Device) -> AddressBook:
    """Return the address book of a device.

    Raises:
        SpoolError: it cannot be read.
    """
    return AddressBook(await run_sync(_stored(device).read))


class EntryExistsError(InputError):
    """There is an entry of this name already.

    Attributes:
        name: the name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"There is an entry {name} already; --replace replaces it.", stage="envelope", key="name")
        self.name = name


async def save_entries(
    device: Device, new: Iterable[Entry], *, replace_all: bool = False, renamed: str = "", replaces: bool = True
) -> Changes:
    """Put entries into the book, all of them or none; see `AddressBook.changes`.

    Args:
        device: the device.
        new: the entries.
        replace_all: whether all other entries are removed.
        renamed: the former name of an entry that gets another one; empty if none does.
        replaces: whether they replace entries of the same names; the entry `renamed` may always be replaced.

    Raises:
        EntryExistsError: there is an entry of such a name, and `replaces` is false.
        InputError: as for `AddressBook.changes`.
        SpoolError: the book cannot be read or written.
    """
    entries = list(new)

    def save() -> Changes:
        with _stored(device).changed() as stored:
            taken = [entry.name for entry in entries if entry.name in stored and entry.name != renamed]
            if taken and not replaces:
                raise EntryExistsError(taken[0])
            if renamed not in {entry.name for entry in entries}:
                stored.pop(renamed, None)
            changes = AddressBook(stored).changes(entries, replace_all=replace_all)
            for name in changes.removed:
                del stored[name]
            stored |= {entry.name: entry for entry in entries}
        return changes

    return await run_sync(save)


async def remove_entries(device: Device, names: Iterable[str]) -> list[Entry]:
    """Remove entries, all of them or none; return them.

    Raises:
        InputError: there is no entry of one of these names.
        SpoolError: the book cannot be read or written.
    """
    wanted = [parse_name(name) for name in names]

    def remove() -> list[Entry]:
        with _stored(device).changed() as stored:
            book = AddressBook(stored)
            for name in wanted:
                if name not in stored:
                    hint = (
                        " That is a group: it is gone once no entry names it."
                        if name in book.groups
                        else suggestion(name, stored)
                    )
                    raise InputError(
                        f"There is no entry {name} in the address book.{hint}", stage="envelope", key="name"
                    )
            return [stored.pop(name) for name in dict.fromkeys(wanted)]

    return await run_sync(remove)


def _stored(device: Device) -> StoredBook:
    return StoredBook(device.records.place)


def normalized(address: str) -> str:
    """Return an address in its canonical form, for comparisons; see `mailslot.smtp.address.Address.canonical`."""
    try:
        return parse_address(address, "recipient").canonical
    except InputError:
        return address.casefold()


def is_name(text: str) -> bool:
    """Whether a text is the name of an entry or group rather than an address."""
    return text.strip().startswith("@")


def _with_name(entry: Entry, address: str) -> str:
    if not entry.display_name:
        return address
    quoted = entry.display_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'

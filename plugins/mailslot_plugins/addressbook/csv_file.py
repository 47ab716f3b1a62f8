"""Address books in CSV: as this device writes them, and as makers' devices export them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.slots.csv_rows import as_cell, csv_rows, decode_csv, from_cell, write_csv_rows
from mailslot_plugins.addressbook.csv_columns import OWN, find_columns
from mailslot_plugins.addressbook.entry import MAX_NAME, Entry, make_entry, name_from
from mailslot_plugins.sending.recipients import split_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mailslot_plugins.addressbook.csv_columns import Field

MAX_OCTETS: Final = 8 * 1024 * 1024
_SHOWN: Final = 20
_INTERNET_FAX: Final = "ifax"


@dataclass(frozen=True, slots=True)
class CsvContents:
    """The contents of an address book in CSV.

    Attributes:
        entries: its entries.
        left_out: a sentence with the line for each row without a mail or fax address.
    """

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]


def read_csv(octets: bytes) -> CsvContents:
    """Read an address book in CSV.

    It may be in UTF-8 or, with a byte order mark, UTF-16; its separator is a comma, a semicolon or a tab.

    Raises:
        InputError: it cannot be read, or entries in it cannot be used; the sentence names the lines.
    """
    if len(octets) > MAX_OCTETS:
        raise InputError(f"The address book is larger than {MAX_OCTETS} octets.", stage="envelope")
    rows = csv_rows(decode_csv(octets))
    _, header = next(rows, (0, list[str]()))
    columns = find_columns(header)
    if "address" not in columns and "fax_address" not in columns:
        shown = ", ".join(cell for cell in header[:8] if cell)[:200]
        raise InputError(
            "No column holds addresses: the first line must name the columns, such as name, addresses, fax_addresses "
            f"and groups. It is: {shown or 'empty'}.",
            stage="envelope",
        )
    return _Reader(columns).read(rows)


def write_csv(entries: Iterable[Entry], separator: str = ",") -> bytes:
    """Return an address book in CSV: UTF-8 with a byte order mark, so that spreadsheets recognise it."""
    rows = (
        [
            entry.name,
            as_cell(entry.display_name),
            *(as_cell(", ".join(each)) for each in (entry.addresses, entry.fax_addresses, entry.groups)),
        ]
        for entry in entries
    )
    return write_csv_rows([OWN, *rows], separator)


class _Reader:
    """Makes entries from rows, and collects their errors."""

    def __init__(self, columns: Mapping[Field, int]) -> None:
        self._columns = columns
        self._entries: dict[str, tuple[int, Entry]] = {}
        self._left_out: list[str] = []
        self._faults: list[str] = []

    def read(self, rows: Iterator[tuple[int, list[str]]]) -> CsvContents:
        for line, row in rows:
            try:
                self._add(line, row)
            except InputError as error:
                self._faults.append(f"Line {line}: {error}")
        if self._faults:
            more = len(self._faults) - _SHOWN
            raise InputError(
                "\n".join(self._faults[:_SHOWN]) + (f"\nAnd {more} more lines." if more > 0 else ""), stage="envelope"
            )
        return CsvContents(tuple(entry for _, entry in self._entries.values()), tuple(self._left_out))

    def _add(self, line: int, row: Sequence[str]) -> None:
        address, fax = split_list(self._cell(row, "address")), split_list(self._cell(row, "fax_address"))
        if self._cell(row, "kind").casefold() == _INTERNET_FAX:
            address, fax = [], [*fax, *address]
        display_name = self._cell(row, "display_name") or " ".join(
            filter(None, (self._cell(row, "first_name"), self._cell(row, "last_name")))
        )
        if not address and not fax:
            self._left_out.append(f"Line {line}: {display_name[:80] or 'the row'} has no mail address.")
            return
        given = self._cell(row, "name")
        name = given or self._free_name(name_from(display_name) or name_from((address or fax)[0].partition("@")[0]))
        entry = make_entry(name, display_name, address, fax, split_list(self._cell(row, "groups")))
        if entry.name in self._entries:
            raise InputError(f"{entry.name} is on line {self._entries[entry.name][0]} already.", stage="envelope")
        self._entries[entry.name] = line, entry

    def _cell(self, row: Sequence[str], field: Field) -> str:
        at = self._columns.get(field)
        text = row[at].strip() if at is not None and at < len(row) else ""
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1].strip()  # Ricoh writes every value so
        return from_cell(text)

    def _free_name(self, name: str) -> str:
        """Return a name that no earlier row has: two people may have the same name."""
        found, number = name, 1
        while found in self._entries:
            number += 1
            found = f"{name[: MAX_NAME - 6]}-{number}"
        return found

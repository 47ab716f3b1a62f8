"""A table of devices in CSV: its columns, its rows by device, and the faults that are found without the database.

Apart from `tenant` and `device`, each column is a setting: `account` is a setting of the slot in the column `slot`, or
of `network.smtp` without that column; `fax.pop.account` of the slot `fax.pop`; `device.location` of the section
`device`. `provider_tenant` is the setting `tenant`, which is the provider's tenant and not the fleet's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.fleet.address import check_name
from mailslot.slots.csv_rows import csv_rows, decode_csv, from_cell
from mailslot.slots.keys import parse_new_value, suggestion
from mailslot.slots.section import find_section
from mailslot.slots.settings import KEYS, PROTOCOL_KEY, SECRETS, parse_setting, protocol_from
from mailslot.slots.slot import PROTOCOLS, SLOTS, is_account

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mailslot.slots.slot import Protocol

MAX_OCTETS: Final = 32 * 1024 * 1024
MAX_COLUMNS: Final = 1000
MAX_LINES: Final = 100_000
"""Lines with values; more devices come in several tables."""

_MAX_FAULTS: Final = 1000
"""Faults after which the rest of the table is not read."""

DEFAULT_SLOT: Final = "network.smtp"
TENANT: Final = "provider_tenant"
"""The column of the setting ``tenant``."""

UNSET: Final = "-"
"""The cell that unsets a setting; an empty one leaves it as it is."""

_LATER: Final = frozenset({"protocol", "server", "secondary_server"})
"""Settings that can only be checked together with the others of their slot."""

_RECORDS: Final = {slot.id: slot.record for slot in SLOTS}


@dataclass(frozen=True, slots=True)
class TableFault:
    """A fault in the table.

    Attributes:
        line: its line, from 1.
        column: its column; empty if it does not belong to one.
        sentence: what is wrong.
    """

    line: int
    column: str
    sentence: str

    def __str__(self) -> str:
        where = f"Line {self.line}, column {self.column}" if self.column else f"Line {self.line}"
        return f"{where}: {self.sentence}"


@dataclass(slots=True)
class DeviceRows:
    """The values of a device in the table.

    Attributes:
        tenant: the name of its tenant.
        device: its name.
        line: its first line.
        values: the entered values, by table (``("records", "smtp")``, ``("device",)``) and key; None
            unsets.
        cells: the line and column of each value.
    """

    tenant: str
    device: str
    line: int
    values: dict[tuple[str, ...], dict[str, str | None]] = field(
        default_factory=dict[tuple[str, ...], dict[str, "str | None"]]
    )
    cells: dict[tuple[tuple[str, ...], str], tuple[int, str]] = field(
        default_factory=dict[tuple[tuple[str, ...], str], tuple[int, str]]
    )

    @property
    def name(self) -> str:
        """Both names, as people enter them."""
        return f"{self.tenant}/{self.device}"

    def fault(self, table: tuple[str, ...], error: InputError) -> TableFault:
        """Return the fault for an error in one of its values, or in their combination."""
        line, column = self.cells.get((table, error.key), (self.line, ""))
        if not column:
            line = next((at for (of_table, _), (at, _) in self.cells.items() if of_table == table), self.line)
        return TableFault(line, column, str(error))


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """The table.

    Attributes:
        devices: the values of each device, in the order of the table.
        faults: the faults found so far.
    """

    devices: tuple[DeviceRows, ...]
    faults: tuple[TableFault, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """A column with a setting.

    Attributes:
        title: its title in the header.
        place: the slot or section; empty for the slot of the row.
        key: the setting.
    """

    title: str
    place: str
    key: str


def read_device_table(octets: bytes) -> DeviceTable:
    """Read a table.

    Raises:
        InputError: it cannot be read, or its header cannot be used; all faults of the header are named.
    """
    if len(octets) > MAX_OCTETS:
        raise InputError(f"The table is larger than {MAX_OCTETS} octets.", stage="resolve")
    rows = csv_rows(decode_csv(octets))
    line, header = next(rows, (1, list[str]()))
    if len(header) > MAX_COLUMNS:
        raise InputError(f"The table has more than {MAX_COLUMNS} columns.", stage="resolve")
    titles = [title.strip().lower() for title in header]
    for needed in ("tenant", "device"):
        if titles.count(needed) != 1:
            raise InputError(
                f"The table has no column {needed}: its first line names the columns, such as tenant, device, account "
                "and provider.",
                stage="resolve",
            )
    columns = {at: title for at, title in enumerate(titles) if title and title not in {"tenant", "device", "slot"}}
    settings: dict[int, _Column] = {}
    faults: list[TableFault] = []
    for at, title in columns.items():
        try:
            settings[at] = _column(title)
            if titles.index(title) != at:
                raise InputError("It stands there twice.", stage="resolve")
        except InputError as error:
            faults.append(TableFault(line, title, str(error)))
    if faults:
        raise InputError("\n".join(map(str, faults)), stage="resolve")
    return _Reader(titles, settings).read(rows)


class _Reader:
    def __init__(self, titles: Sequence[str], settings: Mapping[int, _Column]) -> None:
        self._titles = titles
        self._settings = settings
        self._devices: dict[tuple[str, str], DeviceRows] = {}
        self._faults: list[TableFault] = []

    def read(self, rows: Iterator[tuple[int, list[str]]]) -> DeviceTable:
        for number, (line, row) in enumerate(rows):
            if number == MAX_LINES:
                raise InputError(f"The table has more than {MAX_LINES} lines: divide it.", stage="resolve")
            if len(self._faults) >= _MAX_FAULTS:
                self._faults.append(TableFault(line, "", "There are many faults before this line; it was not read."))
                break
            self._add(line, row)
        return DeviceTable(tuple(self._devices.values()), tuple(self._faults))

    def _add(self, line: int, row: Sequence[str]) -> None:
        names: list[str] = []
        for title in ("tenant", "device"):
            try:
                names.append(check_name(self._cell(row, self._titles.index(title))))
            except InputError as error:
                self._faults.append(TableFault(line, title, str(error)))
        slot = self._cell(row, self._titles.index("slot")).lower() if "slot" in self._titles else ""
        if slot and slot not in _RECORDS and not is_account(slot):
            sentence = f"There is no slot {slot!r}.{suggestion(slot, _RECORDS)}"
            self._faults.append(TableFault(line, "slot", sentence))
            return
        if len(row) > len(self._titles) and any(cell.strip() for cell in row[len(self._titles) :]):
            self._faults.append(TableFault(line, "", "The line has more cells than the header has columns."))
        if len(names) < 2:
            return
        tenant, device = names
        found = self._devices.setdefault((tenant, device), DeviceRows(tenant, device, line))
        added: list[tuple[tuple[str, ...], str]] = []
        for at, column in self._settings.items():
            cell = self._cell(row, at)
            if cell:
                table = _table_of(column.place or slot or DEFAULT_SLOT)
                if self._put(found, line, column, table, None if cell == UNSET else from_cell(cell)):
                    added.append((table, column.key))
        for table, key in added:
            self._check(found, line, table, key)

    def _put(self, found: DeviceRows, line: int, column: _Column, table: tuple[str, ...], value: str | None) -> bool:
        """Put a value where it belongs; return whether it is new there."""
        before = found.cells.get((table, column.key))
        values = found.values.setdefault(table, {})
        if before is not None and values[column.key] != value:
            sentence = f"Line {before[0]} has another value for {found.name}."
            self._faults.append(TableFault(line, column.title, sentence))
        elif before is None:
            values[column.key] = value
            found.cells[table, column.key] = line, column.title
        return before is None

    def _check(self, found: DeviceRows, line: int, table: tuple[str, ...], key: str) -> None:
        """Check a value that this line has added."""
        values = found.values[table]
        try:
            _check_value(table, key, values[key], values)
        except InputError as error:
            self._faults.append(TableFault(line, found.cells[table, key][1], str(error)))

    def _cell(self, row: Sequence[str], at: int) -> str:
        return row[at].strip() if at < len(row) else ""


def _check_value(table: tuple[str, ...], key: str, value: str | None, values: Mapping[str, str | None]) -> None:
    if table[0] != "records":
        section = find_section(table[0])
        parse_new_value({} if section is None else section.keys, key, value)
        return
    protocol = _protocol(table[1], values)
    if key == "protocol" and not is_account(table[1]):
        raise InputError("Only accounts have a protocol that is set.", stage="resolve", key=key)
    # The protocol of an account that is there already is known later; and servers may be entered in several ways.
    if protocol is not None and key not in _LATER:
        parse_setting(key, value, protocol)


def _protocol(record: str, values: Mapping[str, str | None]) -> Protocol | None:
    if record in PROTOCOLS:
        return PROTOCOLS[record]
    given = values.get("protocol")
    if given is None:
        return None
    try:
        return protocol_from(PROTOCOL_KEY.parse(given))
    except ValueError:
        raise InputError(
            f"The protocol of an account must be {PROTOCOL_KEY.allowed}.", stage="resolve", key="protocol"
        ) from None


def _table_of(place: str) -> tuple[str, ...]:
    if place in _RECORDS:
        return "records", _RECORDS[place]
    return ("records", place) if is_account(place) else (place,)


def _column(title: str) -> _Column:
    """Return the setting of a column by its title.

    Raises:
        InputError: there is no such setting, or it is a secret.
    """
    place, _, key = title.rpartition(".")
    if key in SECRETS:
        raise InputError(
            "Passwords and secrets do not belong in a table: set them with mailslot set SLOT KEY=-, or for a whole "
            "tenant with mailslot fleet application.",
            stage="resolve",
        )
    if key == TENANT:
        return _Column(title, place, "tenant")
    known: Mapping[str, object] = {**KEYS, "protocol": PROTOCOL_KEY}
    if place and place not in _RECORDS and not is_account(place):
        section = find_section(place)
        if section is None:
            raise InputError(
                f"There is no slot or section {place!r}.{suggestion(place, [*_RECORDS, 'device'])}", stage="resolve"
            )
        known = section.keys
    if key not in known:
        hint = suggestion(key, known) or f" The settings are: {', '.join(known)}."
        raise InputError(f"There is no setting {key!r}.{hint}", stage="resolve")
    return _Column(title, place, key)

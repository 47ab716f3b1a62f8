"""Setting up many devices from a table: each device in one transaction, which a dry run rolls back.

Values that are not in the table are unchanged. So a table can be applied again, also after an interruption, and changes
only the differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mailslot.errors import InputError, MailError
from mailslot.fleet.postgres.rows import DeviceRows as DatabaseRows
from mailslot.fleet.set_up_table import TableFault
from mailslot.slots.keys import json_value
from mailslot.slots.normalization import implied_values
from mailslot.slots.records import Records
from mailslot.slots.section import find_section
from mailslot.slots.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mailslot.fleet.homes import FleetHomes
    from mailslot.fleet.postgres.database import DeviceId, Rows
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.fleet.postgres.registry import Registry
    from mailslot.fleet.set_up_table import DeviceRows

Table = tuple[str, ...]

Outcome = Literal["added", "changed", "unchanged", "failed"]


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A value that differs.

    Attributes:
        table: such as ``"records.smtp"``.
        key: the setting.
        before: the current value, as JSON; None if it is not set.
        after: the value from the table.
    """

    table: str
    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """The change of a device, or the change that a dry run found.

    Attributes:
        tenant: the name of its tenant.
        device: its name.
        line: its first line in the table.
        outcome: ``added``, ``changed``, ``unchanged``, or ``failed``: nothing of it was changed.
        changes: the values that differ.
        notes: a sentence for each value that was normalized.
        faults: why it failed.
    """

    tenant: str
    device: str
    line: int
    outcome: Outcome
    changes: tuple[ValueChange, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[TableFault, ...] = ()


class _RollbackError(Exception):
    """Rolls back the transaction of a dry run."""


class _FaultsError(Exception):
    """The values of a device cannot be used; rolls back its transaction."""

    def __init__(self, faults: list[TableFault]) -> None:
        super().__init__()
        self.faults = tuple(faults)


class SetUp:
    """Applies a table. Every method blocks.

    Args:
        registry: the devices.
        homes: opens their homes.
        known: the existing devices, as pairs of names.
        dry_run: whether to roll back each change.
    """

    def __init__(
        self, registry: Registry, homes: FleetHomes, known: Iterable[tuple[str, str]], *, dry_run: bool
    ) -> None:
        self._registry = registry
        self._homes = homes
        self._known = set(known)
        self._dry_run = dry_run

    def apply(self, devices: Iterable[DeviceRows]) -> Iterator[DeviceChange]:
        """Set up devices one after the other; yield the change of each.

        Raises:
            InputError: the database or the master key cannot be used.
        """
        for rows in devices:
            yield self._apply(rows)

    def _apply(self, rows: DeviceRows) -> DeviceChange:
        work = _DeviceSetUp(rows)
        new = (rows.tenant, rows.device) not in self._known
        try:
            if new:
                new = self._add(work)
            if not new:
                self._change(work)
        except _RollbackError:
            pass
        except _FaultsError as error:
            return DeviceChange(rows.tenant, rows.device, rows.line, "failed", faults=error.faults)
        outcome: Outcome = "added" if new else "changed" if work.changes else "unchanged"
        return DeviceChange(rows.tenant, rows.device, rows.line, outcome, tuple(work.changes), tuple(work.notes))

    def _add(self, work: _DeviceSetUp) -> bool:
        """Add a device; return False if somebody has added it meanwhile."""
        rows = work.rows
        try:
            self._registry.add(rows.tenant, rows.device, self._homes.master, within=self._within(work))
        except InputError:
            if self._homes.find(rows.tenant, rows.device) is None:
                raise
            return False
        return True

    def _within(self, work: _DeviceSetUp) -> Callable[[Rows, DeviceId], None]:
        def set_up(connection: Rows, device: DeviceId) -> None:
            home = self._homes.open(device)
            with home.documents.within(DatabaseRows(connection, device)):
                work.run(home)
            self._end()

        return set_up

    def _change(self, work: _DeviceSetUp) -> None:
        device = self._homes.find(work.rows.tenant, work.rows.device)
        if device is None:
            sentence = "The device was removed from the fleet meanwhile: run the command again to add it."
            raise _FaultsError([TableFault(work.rows.line, "", sentence)])
        home = self._homes.open(device)
        try:
            with home.documents.exclusive():
                work.run(home)
                self._end()
        except MailError as error:
            raise _FaultsError([TableFault(work.rows.line, "", str(error))]) from error

    def _end(self) -> None:
        if self._dry_run:
            raise _RollbackError


class _DeviceSetUp:
    """The change of one device, in a transaction of this thread."""

    def __init__(self, rows: DeviceRows) -> None:
        self.rows = rows
        self.changes: list[ValueChange] = []
        self.notes: list[str] = []
        self._faults: list[TableFault] = []

    def run(self, home: PostgresHome) -> None:
        records = Records(home)
        for table, values in self.rows.values.items():
            try:
                (self._set_record if table[0] == "records" else self._set_section)(records, table, values)
            except InputError as error:
                self._faults.append(self.rows.fault(table, error))
        if self._faults:
            raise _FaultsError(self._faults)

    def _set_record(self, records: Records, table: Table, values: Mapping[str, str | None]) -> None:
        record, values = table[1], dict(values)
        known = records.settings.load_for_change()
        protocol = values.pop("protocol", None)
        if record not in known:
            if protocol is None:
                raise InputError(
                    f"There is no {record}: the column {record}.protocol says whether to add one for smtp or pop3.",
                    stage="resolve",
                )
            records.settings.edit({table: {"protocol": protocol}})
            self.changes.append(ValueChange(".".join(table), "protocol", None, protocol))
            known = records.settings.load_for_change()
        elif protocol is not None:
            records.settings.preview({table: {"protocol": protocol}})
        before = known[record]
        planned = records.plan_change(record, {**values, **implied_values(values, before)}, {})
        after = records.settings.check(record, planned.values)
        different = [key for key in planned.values if getattr(before, key) != getattr(after, key)]
        if different:
            records.settings.change(record, {key: planned.values[key] for key in different})
            self._note(table, {key: (getattr(before, key), getattr(after, key)) for key in different})
            self.notes += planned.notes

    def _set_section(self, records: Records, table: Table, values: Mapping[str, str | None]) -> None:
        section = find_section(table[0])
        assert section is not None  # noqa: S101 - the header was checked
        before = records.settings.current().sections.get(section.name, {})
        after = records.settings.preview({table: values}).sections.get(section.name, {})
        different = {key: (before.get(key), after.get(key)) for key in values if before.get(key) != after.get(key)}
        for key in different:
            if values[key] is not None and section.keys[key].needs_service:
                raise InputError(
                    "No worker does this. For a device with a service of its own (mailslot serve), set it by "
                    f"mailslot --home 'postgresql://…?device={self.rows.name}' set {section.name} {key}=…",
                    stage="resolve",
                    key=key,
                )
        if different:
            records.settings.change_section(section, {key: values[key] for key in different})
            self._note(table, different)

    def _note(self, table: Table, different: Mapping[str, tuple[object, object]]) -> None:
        unset = Settings()
        for key, (before, after) in different.items():
            default = getattr(unset, key) if table[0] == "records" else None
            shown = [None if value == default else json_value(value) for value in (before, after)]
            self.changes.append(ValueChange(".".join(table), key, *shown))

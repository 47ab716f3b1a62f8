"""Parsing and checking ``mailslot.toml``: all faults are found at once, with their lines."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.errors import InputError
from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.keys import parse_value, quoted_value, suggestion
from mailslot.slots.references import reference_faults
from mailslot.slots.section import is_broken_plugin, section_names
from mailslot.slots.settings import (
    PROTOCOL_KEY,
    SECRETS,
    Settings,
    check_combination,
    directory_of,
    keys_for,
    protocol_from,
)
from mailslot.slots.slot import ACCOUNT_PREFIX, NAME_RULE, PROTOCOLS, is_account, is_valid_name
from mailslot.slots.toml_layout import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mailslot.slots.gateway.table_groups import TableGroup
    from mailslot.slots.keys import Key
    from mailslot.slots.section import Section
    from mailslot.slots.slot import Protocol, SlotDirectory
    from mailslot.slots.toml_layout import Path

Groups = dict[str, dict[str, "Mapping[str, Any]"]]
"""The values that are set in the tables of `GROUPS`, by group and name, without defaults."""

_POSITION: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_TOO_DEEP: Final = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){128}"""
)
"""A dotted name with more parts than any table, key or host has. The time that ``tomllib`` takes grows with the square
of their number."""

_MAX_PARSED: Final = 8 * 1024 * 1024
"""Characters that are parsed, over and over, to find all lines that are not TOML, or the line where something begins
that was never closed."""
_MAX_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class SettingsFault:
    """One fault in the file.

    Attributes:
        line: its line, from 1; None if it does not belong to a line.
        table: the table, such as ``"records.smtp"``; empty outside of tables.
        key: the key; empty if it does not belong to a key.
        what: sentences that say what is wrong and what is allowed.
    """

    line: int | None
    table: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"[{self.table}] {self.what}" if self.table else self.what


class SettingsFileError(InputError):
    """The file cannot be used.

    Attributes:
        faults: all faults in it; empty if the file cannot be read or written at all.
        document: its settings, if the only faults are settings that contradict each other; else None.
    """

    def __init__(
        self,
        sentence: str,
        *,
        faults: tuple[SettingsFault, ...] = (),
        detail: str = "",
        document: SettingsDocument | None = None,
    ) -> None:
        super().__init__(sentence, stage="resolve", cause="not_configured", detail=detail)
        self.faults = faults
        self.document = document


@dataclass(frozen=True, slots=True)
class SettingsDocument:
    """The settings in the file.

    Attributes:
        records: the settings of every record; those of records that are not in the file are empty.
        sections: the values that are set in sections, without defaults.
        groups: the values that are set for listeners and devices, by group and name, without defaults.
    """

    records: Mapping[str, Settings] = field(default_factory=lambda: dict.fromkeys(PROTOCOLS, Settings()))
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, "Mapping[str, Any]"])
    groups: Groups = field(default_factory=lambda: {name: {} for name in GROUPS})


@dataclass(frozen=True, slots=True)
class CurrentSettings:
    """The settings in use.

    Attributes:
        records: the settings, by record.
        sections: the values that are set in sections, without defaults.
        groups: the values that are set for listeners and devices, by group and name, without defaults.
        fault: why the current file cannot be used, so that these are older settings; empty if it can be used.
    """

    records: Mapping[str, Settings]
    sections: Mapping[str, Mapping[str, Any]]
    groups: Groups
    fault: str = ""

    @property
    def slots(self) -> SlotDirectory:
        """The seven slots and the accounts."""
        return directory_of(self.records)


def parse_settings_document(
    text: str, path: str, find: Callable[[str], Section | None], *, complete: bool = True
) -> SettingsDocument:
    """Parse and check a document.

    Args:
        text: the document, with LF line ends.
        path: the file's name in sentences.
        find: returns the section with a name, None if there is none.
        complete: whether everything that a table refers to must be in the document, too.

    Raises:
        SettingsFileError: something in it is not allowed; its detail lists all faults as ``PATH:LINE: [TABLE] WHAT``.
    """
    readable, faults = _without_broken_lines(text)
    document, mendable = SettingsDocument(), None
    if readable is not None:
        check = _DocumentChecker(layout(readable).lines, find, complete=complete)
        document = check.document(cast("dict[str, object]", tomllib.loads(readable)))
        mendable = document if not faults and check.faults == check.combinations else None
        faults += check.faults
    if not faults:
        return document
    faults = sorted(faults, key=lambda fault: fault.line or 0)[:_MAX_FAULTS]
    lines = [f"{path}:{fault.line}: {fault}" if fault.line else f"{path}: {fault}" for fault in faults]
    sentence = lines[0] if len(lines) == 1 else "\n".join([f"{path} has {len(lines)} faults:", *lines])
    raise SettingsFileError(sentence, faults=tuple(faults), detail="\n".join(lines), document=mendable)


def is_too_deep(text: str) -> bool:
    """Whether a document has names with so many parts that parsing would take too long."""
    return _TOO_DEEP.search(text) is not None


def _without_broken_lines(text: str) -> tuple[str | None, list[SettingsFault]]:
    """Return the document without the lines that are not TOML, and the faults of these lines.

    The document is None if the faults cannot be attributed to single lines.
    """
    lines = text.split("\n")
    faults: list[SettingsFault] = []
    if is_too_deep(text):
        return None, [SettingsFault(None, "", "", "tables or lists are nested too deeply.")]
    # The document is parsed once for each fault.
    most = min(_MAX_FAULTS, 1 + _MAX_PARSED // (1 + len(text)))
    while len(faults) < most:
        try:
            tomllib.loads("\n".join([*lines, ""]))
        except RecursionError:
            return None, [*faults, SettingsFault(None, "", "", "tables or lists are nested too deeply.")]
        except ValueError as error:
            what = _POSITION.sub("", str(error)).rstrip(".")
            number = _line(str(error), lines)
            faults.append(SettingsFault(number, "", "", f"this is not TOML: {what[:1].lower()}{what[1:]}."))
            if number is None or not _is_fault_of_line(lines[number - 1], what):
                return None, faults
            lines[number - 1] = ""
        else:
            return "\n".join(lines), faults
    return None, faults


def _line(error: str, lines: list[str]) -> int | None:
    """Return the number of the line that an error of ``tomllib`` is about, from 1."""
    found = _POSITION.search(error)
    if found is not None and found[1]:
        return int(found[1])
    # Something was never closed. It begins after the longest beginning of the document that is valid TOML.
    left = _MAX_PARSED if found is not None else 0
    for end in range(len(lines) - 1, -1, -1):
        beginning = "\n".join(lines[:end])
        left -= len(beginning)
        if left < 0:
            break
        with suppress(ValueError, RecursionError):
            tomllib.loads(beginning)
            return end + 1
    return None


def _is_fault_of_line(line: str, what: str) -> bool:
    """Whether a fault is limited to its line, so that the other lines keep their meaning without it."""
    if line.lstrip().startswith("[") or "=" not in line:
        return False
    try:
        tomllib.loads(line)
    except (ValueError, RecursionError):
        # A string or array that opens in this line and closes in another may only make this line seem wrong.
        return not any(sign in line for sign in ("[", "{", '"""', "'''"))
    return what.startswith("Cannot overwrite")


class _DocumentChecker:
    """Reads a TOML document, and collects what is not allowed in it."""

    def __init__(self, lines: Mapping[Path, int], find: Callable[[str], Section | None], *, complete: bool) -> None:
        self._lines = lines
        self._find = find
        self._complete = complete
        self.faults: list[SettingsFault] = []
        self.combinations: list[SettingsFault] = []

    def document(self, tables: Mapping[str, object]) -> SettingsDocument:
        records: dict[str, Settings] = {record: Settings() for record in PROTOCOLS}
        sections: dict[str, Mapping[str, Any]] = {}
        groups: Groups = {name: {} for name in GROUPS}
        for name, table in tables.items():
            if len(self.faults) >= _MAX_FAULTS:
                break
            if name == "records":
                for record, inner in self._table((name,), table).items():
                    self._record(records, record, inner)
            elif not isinstance(table, dict):
                self._fault((name,), "", f"{name!a} stands outside of a table; settings stand under [records.NAME].")
            elif name in GROUPS:
                for inner_name, inner in cast("dict[str, object]", table).items():
                    self._grouped(GROUPS[name], groups[name], inner_name, inner)
            else:
                self._section(sections, name, cast("dict[str, object]", table))
        if self._complete and not self.faults:
            for path, error in reference_faults(records, groups):
                self._conflict((*path, error.key), error)
        return SettingsDocument(records, sections, groups)

    def _section(self, sections: dict[str, Mapping[str, Any]], name: str, table: Mapping[str, object]) -> None:
        if (section := self._find(name)) is not None:
            sections[name] = dict(self._values((name,), table, section.keys))
        elif not is_broken_plugin(name):
            known = [*(f"records.{record}" for record in PROTOCOLS), *section_names(), *GROUPS]
            hint = suggestion(name, known) or suggestion(f"records.{name}", known)
            self._fault((name,), "", f"there is no table [{_quoted(name)}].{hint or _known(known)}")

    def _record(self, records: dict[str, Settings], record: str, inner: object) -> None:
        path = ("records", record)
        table = self._table(path, inner)
        protocol = self._protocol(path, record, table)
        if protocol is None:
            return
        own = {key: value for key, value in table.items() if key != "protocol" or record in PROTOCOLS}
        values = dict(self._values(path, own, keys_for(protocol)))
        settings = replace(Settings(protocol=None if record in PROTOCOLS else protocol), **values)
        try:
            check_combination(settings, protocol)
        except InputError as error:
            self._conflict((*path, "authentication"), error)
        records[record] = settings

    def _protocol(self, path: Path, record: str, table: Mapping[str, object]) -> Protocol | None:
        """Return the protocol of a record; None if there is no such record."""
        if record in PROTOCOLS:
            return PROTOCOLS[record]
        if is_account(record):
            for _, text in self._values(path, {"protocol": table.get("protocol", "smtp")}, {"protocol": PROTOCOL_KEY}):
                return protocol_from(text)
            return None
        if record.startswith(ACCOUNT_PREFIX):
            hint = f" An account's name has {NAME_RULE}."
        elif record == ACCOUNT_PREFIX.rstrip("."):
            hint = ' An account\'s table is [records."account.NAME"], with quotation marks.'
        else:
            hint = suggestion(record.replace("_", "-"), PROTOCOLS) or _known(PROTOCOLS)
        self._fault(path, "", f"there is no record [records.{_quoted(record)}].{hint}")
        return None

    def _grouped(self, group: TableGroup, found: dict[str, Mapping[str, Any]], name: str, inner: object) -> None:
        path = (group.name, name)
        if not is_valid_name(name):
            self._fault(path, "", f"{quoted_value(name)} is not a name of a {group.noun}. A name has {NAME_RULE}.")
            return
        before = len(self.faults)
        found[name] = values = dict(self._values(path, self._table(path, inner), group.keys))
        if len(self.faults) == before:
            try:
                group.check(values)
            except InputError as error:
                self._fault((*path, error.key), error.key, _fragment(error))

    def _conflict(self, path: Path, error: InputError) -> None:
        """Record a fault that a change of settings can correct."""
        self._fault(path, path[-1], _fragment(error))
        self.combinations.append(self.faults[-1])

    def _table(self, path: Path, value: object) -> Mapping[str, object]:
        if isinstance(value, dict):
            return cast("dict[str, object]", value)
        self._fault(path, "", f"{'.'.join(path)} must be a table.")
        return {}

    def _values(self, path: Path, table: Mapping[str, object], known: Mapping[str, Key]) -> Iterator[tuple[str, Any]]:
        for key, value in table.items():
            if len(self.faults) >= _MAX_FAULTS:
                break
            if key in SECRETS and key not in known:
                what = f"{key} is a secret, and secrets never stand here: mailslot set SLOT {key}=-."
                self._fault((*path, key), key, what)
                continue
            try:
                yield key, parse_value(known, key, value)
            except InputError as error:
                self._fault((*path, key), key, _fragment(error))

    def _fault(self, path: Path, key: str, what: str) -> None:
        table = ".".join(map(_quoted, path[:-1])) if key else ""
        self.faults.append(SettingsFault(self._lines.get(path) or self._lines.get(path[:-1]), table, key, what))


def _fragment(error: InputError) -> str:
    sentence = str(error)
    plain = sentence.removeprefix("The setting ")
    return (
        plain
        if plain != sentence
        else sentence[:1].lower() + sentence[1:]
        if sentence.startswith("There ")
        else sentence
    )


def _known(names: Iterable[str]) -> str:
    return f" There are {', '.join(names)}."


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted_value(name)

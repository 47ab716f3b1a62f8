"""Settings carried from one device to others: as TOML, without a password, a secret or a token."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.errors import InputError
from mailslot.net.endpoint import Security
from mailslot.slots.contents import Contents, SettingsFileError, read_contents
from mailslot.slots.corrections import MICROSOFT_NOTE, STARTTLS_ON_587, without_port_465
from mailslot.slots.keys import Key, list_of, nearest, number, plain, runs_a_program, shown, text
from mailslot.slots.overview import as_text
from mailslot.slots.section import Section, find_section, section_names
from mailslot.slots.settings import KEYS, Settings, keys_for
from mailslot.slots.slot import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailslot.slots.toml_file import InUse, SettingsFile

VERSION: Final = 1

_HEADER: Final = Section(
    "mailslot",
    {
        "export": Key(f"{VERSION}, the version of the format", number(VERSION, VERSION)),
        "without": Key("a list of keys and tables that stay as they are", list_of(text)),
    },
)
_ABOUT: Final = (
    "# Settings of a mailslot device, without passwords, secrets and tokens: mailslot import FILE takes them over.\n"
    "# A table that stands here replaces the device's; one that does not leaves it as it is.\n"
)

Table = tuple[str, ...]
Tables = dict[Table, dict[str, Any]]


def export_settings(settings: InUse, without: Iterable[str] = ()) -> str:
    """Return settings as an export.

    Args:
        settings: what is set; nothing that a preset fills.
        without: keys and tables to leave out, such as ``"account"`` and ``"device"``.

    Raises:
        InputError: there is no such key or table.
    """
    from mailslot.slots.toml_edit import statement  # noqa: PLC0415 - tomlkit takes a while to import

    left_out = tuple(dict.fromkeys(without))
    tables = _tables(Contents(settings.records, settings.sections))
    if left_out:
        _check_names(left_out)
    header: dict[str, Any] = {"export": VERSION} | ({"without": left_out} if left_out else {})
    lines = [_ABOUT]
    for table, values in {("mailslot",): header, **_kept(tables, left_out)}.items():
        if values:
            lines += [f"[{'.'.join(table)}]", *(statement(key, value) for key, value in values.items()), ""]
    return "\n".join(lines)


def import_settings(file: SettingsFile, given: str, name: str, *, allow_commands: bool = False) -> list[str]:
    """Take over an export: all of it, or nothing where anything is wrong.

    Args:
        file: the settings to change.
        given: the export.
        name: what to call it in sentences.
        allow_commands: whether to take over programs that this device is to run, too.

    Returns:
        what is other now, a line each, the last ones what was understood otherwise than it stands there.

    Raises:
        InputError: it is no export, or one of another version; something in it is not allowed, and all of it is
            named; a program would be run that is not now; or the file cannot be changed.
    """
    given = given.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").replace("\r\n", "\n")
    _check_version(given, name)
    found = read_contents(given, name, lambda table: _HEADER if table == "mailslot" else find_section(table))
    left_out = found.sections["mailslot"].get("without", ())
    new = _kept(_tables(found), left_out)
    before = file.current()
    old = _kept(_tables(Contents(before.records, before.sections)), left_out)
    there = cast("dict[str, dict[str, Any]]", tomllib.loads(given))
    changes = {
        table: dict.fromkeys(old.get(table, {})) | new[table]
        for table in new
        if (table[1] in there.get("records", {}) if table[0] == "records" else table[0] in there)
    }
    if not allow_commands:
        _refuse_commands(changes, old, name)
    notes = _corrected(changes, before.records)
    said = [
        f"[{'.'.join(table)}] {key}: {_said(old.get(table, {}).get(key))} → {_said(value)}"
        for table, values in changes.items()
        for key, value in values.items()
        if old.get(table, {}).get(key) != value
    ]
    if said:
        file.edit({table: {key: plain(value) for key, value in values.items()} for table, values in changes.items()})
    return [*said, *notes] if said else []


def _refuse_commands(changes: Mapping[Table, Mapping[str, Any]], old: Tables, name: str) -> None:
    """Refuse what would make this device run a program that it does not run now."""
    found = [
        f"[{'.'.join(table)}] {key} = {shown(_said(value))}"
        for table, values in changes.items()
        for key, value in values.items()
        if value != old.get(table, {}).get(key) and runs_a_program(_keys(table)[key], value)
    ]
    if found:
        raise SettingsFileError(
            f"{name} would let this device run programs: {'; '.join(found)}. If that is what you want, add "
            "--allow-commands."
        )


def _corrected(changes: dict[Table, dict[str, Any]], before: Mapping[str, Settings]) -> list[str]:
    """Correct what `Records.change` corrects, and return what there is to say of it."""
    notes: list[str] = []
    unset = Settings()
    for table, values in changes.items():
        if table[0] != "records":
            continue
        known = {key: getattr(unset, key) if value is None else value for key, value in values.items()}
        if without_port_465(replace(before[table[1]], **known), PROTOCOLS[table[1]]):
            values.update(port=STARTTLS_ON_587["port"], security=Security(STARTTLS_ON_587["security"]))
            notes.append(MICROSOFT_NOTE)
    return list(dict.fromkeys(notes))


def _tables(contents: Contents) -> Tables:
    """Return what is set, by table."""
    unset = Settings()
    records = {
        ("records", record): {
            key: getattr(settings, key)
            for key in keys_for(PROTOCOLS[record])
            if getattr(settings, key) != getattr(unset, key)
        }
        for record, settings in contents.records.items()
    }
    return records | {(name,): dict(values) for name, values in contents.sections.items() if name != "mailslot"}


def _kept(tables: Tables, without: Iterable[str]) -> Tables:
    """Return tables without what is left out, and without what is private."""
    out = frozenset(without)
    kept: Tables = {}
    for table, values in tables.items():
        if out & {".".join(table), table[-1]}:
            continue
        known = _keys(table)
        private = {key for key in values if key in known and known[key].private}
        kept[table] = {key: value for key, value in values.items() if key not in out | private}
    return kept


def _keys(table: Table) -> Mapping[str, Key]:
    section = None if table[0] == "records" else find_section(table[0])
    return KEYS if section is None else section.keys


def _check_names(names: Iterable[str]) -> None:
    """Refuse what there is no such thing of; whether it is set makes no difference."""
    tables = [*(("records", record) for record in PROTOCOLS), *((name,) for name in section_names())]
    known = {name for table in tables for name in (".".join(table), table[-1])}
    known |= {key for table in tables for key in _keys(table)}
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            raise InputError(f"There is no key and no table {shown(name)} to leave out.{hint}", stage="resolve")


def _check_version(given: str, name: str) -> None:
    """Refuse what is of another version before anything in it is called wrong."""
    try:
        header: object = tomllib.loads(given).get("mailslot")
    except (ValueError, RecursionError):
        return  # `read_contents` says where, and what else is wrong.
    version = cast("dict[str, object]", header).get("export") if isinstance(header, dict) else None
    if version is None:
        raise SettingsFileError(f"{name} is no export of mailslot's settings: it has no table [mailslot].")
    if version != VERSION or isinstance(version, bool):
        raise SettingsFileError(
            f"{name} was exported by another version of mailslot: its format is {shown(version)}, and this one knows "
            f"{VERSION}."
        )


def _said(value: object) -> str:
    return "not set" if value is None else as_text(plain(value))

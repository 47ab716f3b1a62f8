"""``mailslot show`` and ``mailslot set``."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.copy_settings import copy_account_settings
from mailslot.cli.home import open_records, read_values, slot_directory
from mailslot.cli.listing import print_listing
from mailslot.errors import InputError
from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.keys import path, useless_items
from mailslot.slots.normalization import implied_values
from mailslot.slots.section import find_section, section_names
from mailslot.slots.settings import KEYS, SECRETS
from mailslot.slots.slot import Slot, slots_of
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.home.home import Home
    from mailslot.slots.keys import Key
    from mailslot.slots.records import Records
    from mailslot.slots.section import Section

SlotName = Annotated[str, typer.Argument(metavar="SLOT", help="A slot's id, such as network.smtp or account.NAME.")]
PlaceName = Annotated[
    str,
    typer.Argument(
        metavar="SLOT", help="The id of a slot or account, such as network.smtp, or a section, such as device."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def show(
    context: typer.Context,
    slot: PlaceName,
    *,
    as_json: AsJson = False,
    long: Annotated[bool, typer.Option("--long", help="Show all settings, and what is allowed.")] = False,
) -> None:
    """Show the settings of a slot, or of a section such as device.

    Each is shown with its value in effect and its origin.

    Examples:
        mailslot show network.smtp
        mailslot show network.smtp --long
        mailslot show device --json
    """
    from mailslot.slots.overview import record_overview, section_overview  # noqa: PLC0415 - cryptography is slow

    home: Home = context.obj
    found = _find(home, slot)
    records = open_records(home)
    if not isinstance(found, Slot):
        document = {"section": found.name, **section_overview(records, found)}
        _print(document, found.keys, found.name, as_json=as_json, long=long)
        for sentence in _useless(records, found):
            print_error(sentence)
        return
    document = {"slot": found.id, "record": found.record, **record_overview(records, found.record)}
    _print(document, KEYS, f"{found.id}: {found.path}" if long else found.id, as_json=as_json, long=long)
    others = [other.id for other in slots_of(found.record) if other != found]
    if others and not as_json:
        make_console().print(f"The same settings and token are behind {' and '.join(others)}.")


def _useless(records: Records, section: Section) -> list[str]:
    """Return sentences about settings that have no effect."""
    given = records.settings.current().sections.get(section.name, {})
    return [sentence for key, value in given.items() if (sentence := useless_items(section.keys, key, value))]


def set_values(
    context: typer.Context,
    slot: Annotated[
        str | None,
        typer.Argument(
            metavar="SLOT", help="The id of a slot or account, such as network.smtp, or a section, such as device."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE…", help="What to set; KEY= unsets, KEY=- reads standard input."),
    ] = None,
    *,
    copy_from: Annotated[
        str | None,
        typer.Option(
            metavar="SLOT",
            help="Copy the provider and the account of this slot to the ones named, or to all that are not set up.",
        ),
    ] = None,
) -> None:
    """Change settings of a slot, section, listener or device.

    A listener is listeners.NAME, a device devices.NAME.

    Passwords and client secrets go into the vault.

    client_secret may be a text, a service account's key file, or a private key with its certificate in PEM:
    mailslot set SLOT client_secret=- < key-and-certificate.pem

    Examples:
        mailslot set network.smtp provider=microsoft365 account=scanner@example.com
        mailslot set network.smtp server=mail.example.com port=587 security=starttls
        mailslot set network.smtp client_secret=-
        mailslot set --copy-from network.smtp
        mailslot set fax.pop print.pop --copy-from network.smtp
        mailslot set fax.pop check_interval=
        mailslot set devices.copier to=*@example.com,boss@example.net
        mailslot set device name="Copier on the second floor" administrator=admin@example.com
    """
    home: Home = context.obj
    if copy_from is not None:
        copy_account_settings(home, copy_from, [*([] if slot is None else [slot]), *(assignments or ())])
        return
    if slot is None or not assignments:
        raise typer.BadParameter(f"missing argument {'SLOT' if slot is None else 'KEY=VALUE'}")
    if slot.partition(".")[0] in GROUPS:
        _set_table(home, slot, assignments)
        return
    found = _find(home, slot)
    keys = KEYS if isinstance(found, Slot) else found.keys
    texts = {key: _absolute_path(text, keys.get(key)) for key, text in _texts(assignments).items()}
    done = make_console()
    if not isinstance(found, Slot):
        open_records(home).settings.change_section(found, {key: text or None for key, text in texts.items()})
        done.print(f"Set {', '.join(texts)} of {found.name}.")
        _warn_about_folders(texts, found.keys)
        _warn_about_secrets(assignments, keys)
        return
    secrets = {key: Secret(text) if text else None for key, text in texts.items() if key in SECRETS}
    values = {key: text or None for key, text in texts.items() if key not in SECRETS}
    records = open_records(home)
    implied = implied_values(values, records.settings.load_for_change()[found.record])
    changed = records.change(found.record, values | implied, secrets)
    done.print(f"Set {', '.join(texts)} of {found.id}.")
    for key, value in implied.items():
        done.print(f"A provider is for OAuth 2.0, so {key} is {value} now; {key}=none ends that.", highlight=False)
    for note in changed.notes:
        done.print(escape(note), highlight=False)
    others = [other.id for other in slots_of(found.record) if other != found]
    if others:
        done.print(f"This holds for {' and '.join(others)} too.")
    _warn_about_secrets(assignments, keys)


def _set_table(home: Home, place: str, assignments: list[str]) -> None:
    """Set settings of a listener or device."""
    from mailslot.slots.gateway.entries import find_table  # noqa: PLC0415 - cryptography is slow

    group, name = GROUPS[place.partition(".")[0]], place.partition(".")[2]
    records = open_records(home)
    find_table(records, group, name)
    texts = {key: _absolute_path(text, group.keys.get(key)) for key, text in _texts(assignments).items()}
    records.settings.edit({(group.name, name): {key: text or None for key, text in texts.items()}})
    make_console().print(f"Set {', '.join(texts)} of the {group.noun} {name}.", highlight=False)


def _find(home: Home, name: str) -> Slot | Section:
    """Return the slot or section with a name.

    Raises:
        InputError: there is none; the nearest is suggested.
    """
    directory = slot_directory(home)
    slots = {slot.id: slot for slot in directory.slots}
    if name in slots:
        return slots[name]
    section = find_section(name)
    if section is not None:
        return section
    sections = section_names()
    near = get_close_matches(name, [*slots, *sections], n=1)
    if near and near[0] in sections:
        raise InputError(f"There is no slot and no section {name!r}. Did you mean {near[0]}?", stage="resolve")
    return directory.find(name)


def _absolute_path(text: str, key: Key | None) -> str:
    """Return a setting's text; a path as an absolute one, since the service runs in another folder."""
    return str(Path(text).expanduser().absolute()) if text and key is not None and key.parse is path else text


def _warn_about_secrets(assignments: list[str], keys: Mapping[str, Key]) -> None:
    """Warn about a secret that was typed where others can see it: the process list and the shell's history."""
    given = {key: text for key, _, text in (each.partition("=") for each in assignments) if text not in {"", "-"}}
    if exposed := [key for key in given if key in SECRETS or (key in keys and keys[key].private)]:
        print_error(
            f"{' and '.join(exposed)}: the shell remembers what was typed, and other users can see it in the list of "
            f"processes. Better: {' '.join(f'{key}=-' for key in exposed)}, which asks for it or reads standard input."
        )


def _warn_about_folders(texts: Mapping[str, str], keys: Mapping[str, Key]) -> None:
    """Warn about a folder for documents that is not there. It is not created, since a disk may be missing there."""
    for key, text in texts.items():
        form, _, name = text.partition(" ")
        if form == "folder" and form in dict(keys[key].forms) and not Path(name).is_dir() and Path(name).is_absolute():
            print_error(f"The folder {name} is not there yet: nothing can be put into it until somebody creates it.")


def _texts(assignments: list[str]) -> dict[str, str]:
    """Return the values by key, read from standard input where the value is ``-``."""
    pairs = [assignment.partition("=") for assignment in assignments]
    for key, equals, _ in pairs:
        if not equals:
            raise typer.BadParameter(f"{key!r} is not of the form KEY=VALUE", param_hint="KEY=VALUE")
    names = [key for key, _, _ in pairs]
    if twice := {key for key in names if names.count(key) > 1}:
        raise typer.BadParameter(f"{', '.join(sorted(twice))} is given twice", param_hint="KEY=VALUE")
    texts = dict(zip(names, read_values([text for _, _, text in pairs]), strict=True))
    for key, _, text in pairs:
        if text == "-" and not texts[key]:
            raise InputError(f"Nothing was entered for {key}, and nothing changes; {key}= removes it.", stage="resolve")
    return texts


def _print(document: Mapping[str, Any], keys: Mapping[str, Key], title: str, *, as_json: bool, long: bool) -> None:
    from mailslot.slots.overview import as_text  # noqa: PLC0415 - as above

    if as_json:
        print_json(document)
        return
    rows: list[list[str]] = []
    for key, value in document["settings"].items():
        where = document["from"].get(key, "")
        rows.append([key, escape(as_text(value)), escape(where), escape(keys[key].allowed)])
    for name, is_set in document.get("secrets", {}).items():
        kept = {True: "set, in the vault", False: "", None: "cannot be read"}[is_set]
        rows.append([name, kept, "", "a text; KEY=- reads it from standard input"])
    console = make_console()
    console.print(f"[bold]{escape(title)}[/bold]\n", highlight=False)
    headings = ("Setting", "Value", "From", *(("Allowed",) if long else ()))
    shown = rows if long else [row for row in rows if row[1]]
    print_listing(console, headings, [row[: len(headings)] for row in shown], wrapped={"Value", "From", "Allowed"})
    if not long and (unset := [row[0] for row in rows if not row[1]]):
        console.print(f"\nNot set: {', '.join(unset)}.", highlight=False)
        console.print("All of them, with what is allowed: --long", highlight=False)

"""``mailslot set --copy-from``: the provider and account of one slot for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mailslot.cli.console import make_console
from mailslot.cli.home import open_records, slot_directory
from mailslot.cli.suggestion import suggested_command
from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from mailslot.home.home import Home
    from mailslot.slots.records import Records


def copy_account_settings(home: Home, source: str, targets: list[str]) -> None:
    """Copy the provider and the account of a slot, and print the next steps.

    Args:
        home: the home folder.
        source: the id of the slot.
        targets: the ids of the slots to copy to; empty for all that are not set up.

    Raises:
        InputError: there is no such slot, or nothing to copy, or nowhere to copy it to.
        MailError: a secret cannot be read or written.
    """
    from mailslot.slots.copying import records_to_set_up  # noqa: PLC0415 - only with this option

    if any("=" in each for each in targets):
        raise typer.BadParameter("it stands alone: set values with a command of their own", param_hint="--copy-from")
    directory, records = slot_directory(home), open_records(home)
    found = directory.find(source)
    wanted = list(dict.fromkeys(directory.find(each).record for each in targets))
    if not wanted:
        wanted = records_to_set_up(records.settings.load(), found.record)
    if found.record in wanted:
        raise InputError(f"{found.id} has the same settings already.", stage="resolve")
    if not wanted:
        raise InputError("Every slot is set up. Name those that are to be changed.", stage="resolve")
    own = records.settings.load()[found.record]
    if not (own.provider or own.issuer or own.token_endpoint or own.account):
        raise InputError("There is neither a provider nor an account to copy.", stage="resolve")
    for record in wanted:
        records.copy_provider(found.record, record)
    console = make_console()
    slots = {record: [slot.id for slot in directory.slots if slot.record == record] for record in wanted}
    names = ", ".join(name for each in slots.values() for name in each)
    console.print(f"Provider and account of {found.id} are set at: {names}.", highlight=False)
    _print_next_steps(console, home, records, slots)


def _print_next_steps(console: Console, home: Home, records: Records, slots: Mapping[str, Sequence[str]]) -> None:
    """Print the next steps.

    Args:
        console: where to print.
        home: the home folder.
        records: its records.
        slots: the slots of each record that was set.
    """
    settings = records.settings.load()
    without_server = [record for record in slots if records.effective(record).server is None]
    if without_server:
        console.print("Their mail server is still to be set, and their scopes may be others:", highlight=False)
        for record in without_server:
            command = suggested_command(home, "set", slots[record][0], "server=…")
            console.print(f"  {command}", highlight=False, soft_wrap=True)
    if signing_in := [each[0] for record, each in slots.items() if settings[record].authentication == "oauth2"]:
        console.print("Each has a token of its own, which is to be obtained:", highlight=False)
        for name in signing_in:
            console.print(f"  {suggested_command(home, 'token', 'get', name)}", highlight=False, soft_wrap=True)

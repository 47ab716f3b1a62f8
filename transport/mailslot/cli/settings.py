"""``mailslot show`` and ``mailslot set``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mailslot.cli.home import open_records, read_values
from mailslot.slots.settings import KEYS, SECRETS
from mailslot.slots.slot import doors, find_slot
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

SlotName = Annotated[str, typer.Argument(metavar="SLOT", help="A slot's id, such as network.smtp.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def show(context: typer.Context, slot: SlotName, *, as_json: AsJson = False) -> None:
    """Show the settings of a slot's record."""
    home: Path = context.obj
    found = find_slot(slot)
    records = open_records(home)
    settings = records.settings.load()[found.record]
    secrets = {name: name in records.vault.fields(found.record) for name in SECRETS}
    values = {key: _shown(getattr(settings, key)) for key in KEYS if found.protocol in KEYS[key].protocols}
    if as_json:
        document = {"slot": found.id, "record": found.record, "settings": values, "secrets": secrets}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    table = Table(title=f"{found.id}: {found.path}", title_justify="left")
    table.add_column("Setting", no_wrap=True)
    table.add_column("Value", overflow="fold")
    table.add_column("Allowed", style="dim")
    for key, value in values.items():
        table.add_row(key, "" if value is None else escape(_text(value)), KEYS[key].allowed)
    for name, there in secrets.items():
        table.add_row(name, "set, in the vault" if there else "", "a text; KEY=- reads it from standard input")
    console = Console()
    console.print(table)
    others = [other.id for other in doors(found.record) if other != found]
    if others:
        console.print(f"The same settings and token are behind {' and '.join(others)}.")


def set_values(
    context: typer.Context,
    slot: SlotName,
    assignments: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE…", help="What to set; KEY= unsets, KEY=- reads standard input.")
    ],
) -> None:
    """Set settings of a slot's record; passwords and client secrets go into the vault.

    client_secret may be a text, a service account's key file, or a private key with its certificate in PEM:
    mailslot set SLOT client_secret=- < key-and-certificate.pem
    """
    home: Path = context.obj
    found = find_slot(slot)
    pairs = [assignment.partition("=") for assignment in assignments]
    for key, equals, _ in pairs:
        if not equals:
            raise typer.BadParameter(f"{key!r} is not of the form KEY=VALUE", param_hint="KEY=VALUE")
    texts = dict(zip([key for key, _, _ in pairs], read_values([text for _, _, text in pairs]), strict=True))
    secrets = {key: Secret(text) if text else None for key, text in texts.items() if key in SECRETS}
    values = {key: text or None for key, text in texts.items() if key not in SECRETS}
    open_records(home).change(found.record, values, secrets)
    done = Console()
    done.print(f"Set {', '.join([*values, *secrets])} of {found.id}.")
    others = [other.id for other in doors(found.record) if other != found]
    if others:
        done.print(f"This holds for {' and '.join(others)} too.")


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - of texts
    if value is None or isinstance(value, int | str):
        return value
    return str(getattr(value, "value", value))


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - of texts

"""``mailslot export`` and ``mailslot import``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_json
from mailslot.cli.home import open_records
from mailslot.cli.output import write_output
from mailslot.cli.settings import AsJson
from mailslot.errors import MailError

if TYPE_CHECKING:
    from mailslot.slots.settings_import import ImportPlan

_MAX_OCTETS = 1024 * 1024

Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]


def export(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; standard output without it.")] = None,
    *,
    without: Annotated[
        str, typer.Option(metavar="KEY,…", help="Keys and tables to leave out, such as account,sender_address,device.")
    ] = "",
    force: Force = False,
) -> None:
    """Write the settings to a file, for other devices to import.

    It does not contain passwords, secrets or tokens.

    Examples:
        mailslot export settings.toml --without account,sender_address
    """
    from mailslot.slots.settings_export import export_settings  # noqa: PLC0415 - cryptography takes a while to import

    names = [name for name in without.replace(",", " ").split() if name]
    text = export_settings(open_records(context.obj).settings.current(), names)
    if file is None:
        sys.stdout.write(text)
        return
    write_output(file, text.encode(), force=force)
    make_console().print(
        f"The settings are in {escape(str(file))}; passwords, secrets and tokens are not.", soft_wrap=True
    )


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote; - reads standard input.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    allow_local: Annotated[
        bool,
        typer.Option(
            "--allow-local",
            help="Take over programs, files and folders of this device, too: only from a file that is yours.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import settings that were exported on another device.

    If anything in the file is wrong, nothing is imported.

    The changes are shown first. A table in the file replaces the device's table; all other tables stay unchanged.
    Tokens and passwords are kept, except those that would go to another server.

    Examples:
        mailslot import settings.toml --dry-run
        mailslot import settings.toml --yes
    """
    from mailslot.slots.settings_import import apply_import, plan_import  # noqa: PLC0415 - as above

    if as_json and not (yes or dry_run):
        raise typer.BadParameter("with --json nothing is asked; add --yes or --dry-run", param_hint="--json")
    records = open_records(context.obj)
    plan = plan_import(records, _read(file), str(file))
    if not allow_local:
        plan.check_local()
    asks = bool(plan.changes) and not (yes or dry_run)
    if asks and (str(file) == "-" or not sys.stdin.isatty()):
        raise typer.BadParameter(
            "there is no terminal to ask on, so nothing was changed; --dry-run shows what would change",
            param_hint="--yes",
        )
    if not as_json:
        _show(plan)
    if asks:
        typer.confirm("Change these settings?", abort=True)
    if not dry_run:
        apply_import(records, plan)
    if as_json:
        print_json(_document(plan, taken_over=bool(plan.changes) and not dry_run))
        return
    summary = "Nothing to change: the device already has these settings."
    if plan.changes:
        summary = "Nothing was changed." if dry_run else f"{len(plan.changes)} settings changed."
    make_console().print(summary)


def _show(plan: ImportPlan) -> None:
    console = make_console()
    for line in (*map(str, plan.changes), *plan.dropped_notes, *plan.notes):
        console.print(escape(line), highlight=False, soft_wrap=True)


def _document(plan: ImportPlan, *, taken_over: bool) -> dict[str, Any]:
    return {
        "taken_over": taken_over,
        "changes": [asdict(change) for change in plan.changes],
        "dropped": [{"record": record, "secret": name} for record, names in plan.dropped.items() for name in names],
        "notes": list(plan.notes),
    }


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            octets = sys.stdin.buffer.read(_MAX_OCTETS + 1)
        else:
            with file.open("rb") as source:
                octets = source.read(_MAX_OCTETS + 1)
    except OSError as error:
        raise _unusable(file, error.strerror or type(error).__name__) from error
    if len(octets) > _MAX_OCTETS:
        raise _unusable(file, f"it is larger than {_MAX_OCTETS} octets")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise _unusable(file, "it is not UTF-8") from error


def _unusable(file: Path, reason: str) -> MailError:
    return MailError(f"{file} cannot be read: {reason}.", stage="resolve", cause="not_configured")

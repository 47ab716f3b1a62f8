"""``mailslot addressbook``: the entries of the address book."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import anyio
import typer
from anyio.to_thread import run_sync
from rich.markup import escape

from mailslot.cli.console import make_console, print_json
from mailslot.cli.home import open_records, read_values
from mailslot.cli.listing import print_listing
from mailslot.cli.settings import AsJson  # noqa: TC001 - typer reads it
from mailslot.plugin import InputError, Secret
from mailslot_plugins.addressbook.book import load_book, remove_entries, save_entries
from mailslot_plugins.addressbook.csv_file import MAX_OCTETS, read_csv, write_csv
from mailslot_plugins.addressbook.directory.directory import directory_of
from mailslot_plugins.addressbook.directory.password import store_password
from mailslot_plugins.addressbook.directory.sentences import sentence_of_test
from mailslot_plugins.addressbook.entry import make_entry
from mailslot_plugins.addressbook.lookup import with_names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mailslot.home.home import Home
    from mailslot.plugin import Device
    from mailslot_plugins.addressbook.book import AddressBook, Changes
    from mailslot_plugins.addressbook.directory.directory import DirectoryAnswer
    from mailslot_plugins.addressbook.entry import Entry

T = TypeVar("T")

app = typer.Typer(help="The address book: who is meant by @accounting.", no_args_is_help=True)

_SHOWN = 20
_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


@app.callback()
def _addressbook() -> None:
    """The address book: who is meant by @accounting."""


@app.command("list")
def list_entries(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only this entry, or the entries of this group.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the entries.

    Examples:
        mailslot addressbook list
        mailslot addressbook list @accounting --json
    """

    async def action(device: Device) -> list[Entry]:
        book = await load_book(device)
        return list(book.entries.values()) if name is None else (await with_names(device, book, [name])).members(name)

    _print_entries(
        _with_device(context.obj, action),
        "The address book is empty. mailslot addressbook add NAME --address ADDRESS adds an entry.",
        as_json=as_json,
    )


@app.command("search")
def search(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Each word begins a name or an address.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Search the directory (LDAP) behind the address book.

    Examples:
        mailslot addressbook search ali
        mailslot addressbook search "alice exa" --json
    """

    async def action(device: Device) -> DirectoryAnswer:
        return await directory_of(device).search(text)

    answer = _with_device(context.obj, action)
    _print_entries(answer.entries, "The directory has nobody whose name begins like this.", as_json=as_json)
    if not answer.is_complete and not as_json:
        make_console().print("There are more; enter more of the name.")


@app.command("test")
def try_directory(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Test the directory (LDAP) behind the address book: one sentence says what is wrong.

    Examples:
        mailslot set addressbook ldap_server=ldap.example.com ldap_base=ou=people,dc=example,dc=com
        mailslot addressbook test
    """

    async def action(device: Device) -> str:
        directory = directory_of(device)
        return sentence_of_test(directory.source, await directory.test())

    sentence = _with_device(context.obj, action)
    if as_json:
        print_json({"message": sentence})
    else:
        make_console().print(sentence, highlight=False, markup=False, soft_wrap=True)


@app.command("password")
def password(
    context: typer.Context,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the password.")] = False,
) -> None:
    """Store the password of the directory's user (ldap_user). It is asked for, or is read from standard input.

    It is sent only to the server, and for the user, that are set now.

    Examples:
        mailslot addressbook password
        mailslot addressbook password < file
    """
    entered = None if remove else Secret(read_values(["-"])[0])

    async def action(device: Device) -> None:
        await run_sync(store_password, device.records.vault, directory_of(device).source, entered)

    _with_device(context.obj, action)
    make_console().print("The password of the directory is " + ("removed." if remove else "stored."))


def _print_entries(entries: Sequence[Entry], none: str, *, as_json: bool) -> None:
    if as_json:
        print_json([entry.document() for entry in entries])
        return
    console = make_console()
    if not entries:
        console.print(none)
        return
    rows = [
        [
            escape(f"@{entry.name}"),
            escape(entry.display_name),
            escape(", ".join(entry.addresses)),
            escape(", ".join(entry.fax_addresses)),
            escape(", ".join(f"@{group}" for group in entry.groups)),
        ]
        for entry in entries
    ]
    headings = ("Name", "Display name", "Addresses", "Fax addresses", "Groups")
    print_listing(console, headings, rows, wrapped={"Display name", "Addresses", "Fax addresses", "Groups"})


@app.command("add")
def add(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What is typed for it, as --to @NAME: letters, digits, . and -.")
    ],
    *,
    address: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="A mail address; repeatable.")] = None,
    fax: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="An address for faxes, such as FAX=+12027653000@gateway.example."),
    ] = None,
    display_name: Annotated[str, typer.Option(metavar="TEXT", help="Its name for people.")] = "",
    group: Annotated[list[str] | None, typer.Option(metavar="GROUP", help="A group it is in; repeatable.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the entry of this name, if there is one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add an entry.

    Examples:
        mailslot addressbook add alice --address alice@example.com --display-name 'Alice Example' --group accounting
        mailslot addressbook add office --fax FAX=+12027653000@gateway.example
    """
    entry = make_entry(name, display_name, address or (), fax or (), group or ())

    async def action(device: Device) -> Changes:
        return await save_entries(device, [entry], replaces=replace)

    _with_device(context.obj, action)
    if as_json:
        print_json(entry.document())
    else:
        make_console().print(f"@{entry.name} is in the address book.", highlight=False, markup=False)


@app.command("remove")
def remove(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="The entries.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Remove entries: all that are named, or none if one of them is not there.

    Examples:
        mailslot addressbook remove alice bob
    """

    async def action(device: Device) -> Sequence[str]:
        return [entry.name for entry in await remove_entries(device, names)]

    removed = _with_device(context.obj, action)
    if as_json:
        print_json({"removed": removed})
    else:
        make_console().print(f"Removed: {', '.join(removed)}.", highlight=False, markup=False)


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A CSV file; - is standard input.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    replace_all: Annotated[bool, typer.Option("--replace-all", help="Remove all entries that it lacks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import entries from CSV, as this device or a maker's device exports them. If a line is wrong, nothing changes.

    Entries of the same name are replaced. Without a column for it, the name is made from the display name.

    Examples:
        mailslot addressbook import addresses.csv --dry-run
        mailslot addressbook import addresses.csv --replace-all
    """
    contents = read_csv(_read(file))

    async def action(device: Device) -> Changes:
        if dry_run:
            return (await load_book(device)).changes(contents.entries, replace_all=replace_all)
        return await save_entries(device, contents.entries, replace_all=replace_all)

    changes = _with_device(context.obj, action)
    if as_json:
        print_json({**changes.document(), "left_out": list(contents.left_out), "dry_run": dry_run})
        return
    console = make_console()
    verb = "Would be" if dry_run else "Were"
    for done, names in (("added", changes.added), ("changed", changes.changed), ("removed", changes.removed)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            text = f"{verb} {done}: {len(names)} ({', '.join(names[:_SHOWN])}{more})."
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print(f"Unchanged: {len(changes.unchanged)}.", highlight=False)
    for sentence in contents.left_out:
        console.print(f"Left out: {sentence}", highlight=False, markup=False, soft_wrap=True)


@app.command("export")
def export(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Where to; - is standard output.")] = "-",
    *,
    separator: Annotated[
        Literal["comma", "semicolon", "tab"], typer.Option(help="What stands between the columns.")
    ] = "comma",
    as_json: AsJson = False,
) -> None:
    """Export the address book as CSV, in UTF-8.

    Examples:
        mailslot addressbook export addresses.csv
        mailslot addressbook export addresses.csv --separator semicolon
    """
    book: AddressBook = _with_device(context.obj, load_book)
    entries = list(book.entries.values())
    if as_json:
        print_json([entry.document() for entry in entries])
        return
    octets = write_csv(entries, _SEPARATORS[separator])
    if file == "-":
        sys.stdout.buffer.write(octets)
        return
    try:
        Path(file).write_bytes(octets)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.", stage="data", detail=str(error)) from error
    make_console().print(f"{len(entries)} entries are in {file}.", highlight=False, markup=False, soft_wrap=True)


def _read(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_OCTETS + 1)
        with Path(file).open("rb") as opened:
            return opened.read(MAX_OCTETS + 1)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.", stage="data", detail=str(error)) from error


def _with_device(home: Home, action: Callable[[Device], Awaitable[T]]) -> T:
    async def work() -> T:
        from mailslot.plugin import open_device  # noqa: PLC0415 - with it come httpx2 and the rest

        async with open_device(open_records(home)) as device:
            return await action(device)

    return anyio.run(work)

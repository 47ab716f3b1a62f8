"""``/addressbook``: the entries, a form for one, and import and export of CSV; the directory is in directory.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot_plugins.addressbook.book import EntryExistsError, load_book, remove_entries, save_entries
from mailslot_plugins.addressbook.csv_file import read_csv, write_csv
from mailslot_plugins.addressbook.directory.directory import DirectoryAnswer, directory_of
from mailslot_plugins.addressbook.entry import Entry, make_entry, parse_name
from mailslot_plugins.addressbook.panel import directory
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.sending.recipients import split_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.datastructures import FormData
    from starlette.requests import Request

    from mailslot.plugin import Device
    from mailslot_plugins.addressbook.book import Changes

FOLDER: Final = "addressbook"
HERE: Final = "/addressbook"
FIELDS: Final = ("name", "display_name", "addresses", "fax_addresses", "groups")

_PAGE_SIZE: Final = 100
_LISTS: Final = frozenset({"addresses", "fax_addresses", "groups"})


async def show(request: Request) -> Response:
    """Return the entries; in the query, ``find`` filters them, and ``page`` selects the part to show."""
    device = device_of(request)
    book = await load_book(device)
    find = request.query_params.get("find", "").strip()[:100]
    found = [entry for entry in book.entries.values() if _is_found(entry, find.casefold())]
    number = request.query_params.get("page", "")
    last = max((len(found) - 1) // _PAGE_SIZE, 0)
    answer, fault = await _in_directory(request, find)
    page = min(int(number), last) if number.isascii() and number.isdigit() and len(number) < 6 else 0
    return render(
        request,
        "addressbook/list.html",
        entries=found[page * _PAGE_SIZE : (page + 1) * _PAGE_SIZE],
        total=len(book.entries),
        find=find,
        page=page,
        last=last,
        has_directory=directory.is_set(device),
        answer=answer,
        fault=fault,
    )


async def suggestions(device: Device) -> list[tuple[str, str]]:
    """Return the names of the book and their meaning, for forms in which recipients are entered."""
    book = await load_book(device)
    groups = [(f"@{group}", ", ".join(f"@{entry.name}" for entry in book.members(group)[:5])) for group in book.groups]
    return groups + [
        (f"@{entry.name}", entry.display_name or (entry.addresses + entry.fax_addresses)[0])
        for entry in book.entries.values()
    ]


async def search_address(device: Device) -> str:
    """Return the address to search while somebody types a name; empty if the form suggests all names already."""
    return directory.SUGGESTIONS if directory.is_set(device) else ""


async def ask(request: Request) -> Response:
    """Return the form of a new entry, or of the entry ``name`` in the query."""
    name = request.query_params.get("name", "")
    book = await load_book(device_of(request))
    entry = book.entries.get(name)
    if name and entry is None:
        return redirect(request, HERE, text(request, FOLDER, "is_gone", name=name[:64]), "warning")
    return _form(request, _typed(entry), {}, name)


async def save(request: Request) -> Response:
    """Save an entry; under another name, it replaces the former one."""
    device, form = device_of(request), request.state.form
    typed, before = {field: _field(form, field) for field in FIELDS}, _field(form, "before")
    try:
        entry = make_entry(
            typed["name"],
            typed["display_name"],
            split_list(typed["addresses"]),
            split_list(typed["fax_addresses"]),
            split_list(typed["groups"]),
        )
        await save_entries(device, [entry], renamed=before, replaces=False)
    except EntryExistsError as error:
        return _form(request, typed, {"name": text(request, FOLDER, "is_taken", name=error.name)}, before)
    except InputError as error:
        return _form(
            request,
            typed,
            {error.key if error.key in FIELDS else "": translated(str(error), request.state.language)},
            before,
        )
    return redirect(request, HERE, text(request, FOLDER, "is_saved", name=entry.name))


async def remove(request: Request) -> Response:
    """Remove an entry."""
    name = _field(request.state.form, "name")
    try:
        await remove_entries(device_of(request), [parse_name(name)])
    except InputError as error:
        return redirect(request, HERE, str(error), "warning")
    return redirect(request, HERE, text(request, FOLDER, "is_removed", name=name))


async def ask_import(request: Request) -> Response:
    """Return the form for CSV."""
    return _import_page(request)


async def import_csv(request: Request) -> Response:
    """Show what an import would change; with ``sure`` in the form, import."""
    device, form = device_of(request), request.state.form
    csv, replace_all = str(form.get("csv", "")), form.get("replace_all") == "yes"
    try:
        contents = read_csv(csv.encode("utf-8", "replace"))
        if form.get("sure") == "yes":
            await save_entries(device, contents.entries, replace_all=replace_all)
            return redirect(request, HERE, text(request, FOLDER, "is_imported", number=len(contents.entries)))
        changes = (await load_book(device)).changes(contents.entries, replace_all=replace_all)
    except InputError as error:
        lines = [translated(line, request.state.language) for line in str(error).splitlines()]
        return _import_page(request, csv=csv, replace_all=replace_all, faults=lines)
    return _import_page(request, csv=csv, replace_all=replace_all, changes=changes, left_out=contents.left_out)


async def export(request: Request) -> Response:
    """Return the address book as CSV; ``separator=semicolon`` in the query for spreadsheets that want it."""
    book = await load_book(device_of(request))
    separator = ";" if request.query_params.get("separator") == "semicolon" else ","
    headers = {"Content-Disposition": 'attachment; filename="addressbook.csv"', "Cache-Control": "no-store"}
    return Response(write_csv(book.entries.values(), separator), media_type="text/csv", headers=headers)


async def _in_directory(request: Request, find: str) -> tuple[DirectoryAnswer, str]:
    """Return the directory's matches, and a sentence if it cannot be searched."""
    try:
        return await directory_of(device_of(request)).search(find), ""
    except MailError as error:
        return DirectoryAnswer(), translated(str(error), request.state.language)


def _form(request: Request, typed: dict[str, str], errors: dict[str, str], before: str) -> Response:
    return render(request, "addressbook/entry.html", 422 if errors else 200, typed=typed, errors=errors, before=before)


def _import_page(
    request: Request,
    *,
    csv: str = "",
    replace_all: bool = False,
    faults: Sequence[str] = (),
    changes: Changes | None = None,
    left_out: tuple[str, ...] = (),
) -> Response:
    context: dict[str, Any] = {
        "csv": csv,
        "replace_all": replace_all,
        "faults": faults,
        "changes": changes,
        "left_out": left_out,
    }
    return render(request, "addressbook/import.html", 422 if faults else 200, **context)


def _typed(entry: Entry | None) -> dict[str, str]:
    if entry is None:
        return dict.fromkeys(FIELDS, "")
    document = entry.document()
    return {field: ", ".join(document[field]) if field in _LISTS else document[field] for field in FIELDS}


def _field(form: FormData, name: str) -> str:
    return str(form.get(name, "")).strip()


def _is_found(entry: Entry, text: str) -> bool:
    texts = (entry.name, entry.display_name, *entry.addresses, *entry.fax_addresses, *entry.groups)
    return not text or any(text.removeprefix("@") in each.casefold() for each in texts)


routes = [
    Route(HERE, show),
    Route(f"{HERE}/entry", ask),
    Route(f"{HERE}/entry", save, methods=["POST"]),
    Route(f"{HERE}/remove", remove, methods=["POST"]),
    Route(f"{HERE}/import", ask_import),
    Route(f"{HERE}/import", import_csv, methods=["POST"]),
    Route(f"{HERE}/export", export),
    *directory.routes,
]

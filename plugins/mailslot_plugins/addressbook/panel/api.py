"""``/api/addressbook``, its import and export, and the directory behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from mailslot.errors import MailError
from mailslot_plugins.addressbook.book import load_book, remove_entries, save_entries
from mailslot_plugins.addressbook.csv_file import read_csv, write_csv
from mailslot_plugins.addressbook.directory.directory import directory_of
from mailslot_plugins.addressbook.directory.sentences import sentence_of_test
from mailslot_plugins.addressbook.entry import MAX_NAME, make_entry
from mailslot_plugins.addressbook.lookup import with_names
from mailslot_plugins.panel.api.json_schema import (
    BOOLEAN,
    STRING,
    STRINGS,
    closed_object_schema,
    enum_of,
    list_of,
    nullable,
    object_schema,
    schema_ref,
)
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.permission import requested_by
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.rules.section import SECTION
from mailslot_plugins.rules.sending_rules import needs_book

if TYPE_CHECKING:
    from mailslot_plugins.panel.api.operation import Call

_NAME: Final = {**STRING, "minLength": 1, "maxLength": MAX_NAME}
_SEPARATORS: Final = {"comma": ",", "semicolon": ";", "tab": "\t"}


async def list_addressbook(call: Call) -> Response:
    """Return all entries, or those of one name."""
    book, name = await load_book(call.device), call.query.get("name")
    if name is not None:
        book = await with_names(call.device, book, [name])
    entries = book.entries.values() if name is None else book.members(name)
    return json_response([entry.document() for entry in entries])


async def put_addressbook_entry(call: Call) -> Response:
    """Add an entry, or replace the entry of this name."""
    _check_permission(call)
    body = call.body
    entry = make_entry(
        body["name"],
        body.get("display_name", ""),
        body.get("addresses", ()),
        body.get("fax_addresses", ()),
        body.get("groups", ()),
    )
    await save_entries(call.device, [entry])
    return json_response(entry.document())


async def remove_addressbook_entry(call: Call) -> Response:
    """Remove an entry."""
    _check_permission(call)
    name: str = call.request.path_params["entry"]
    if name not in (await load_book(call.device)).entries:
        raise ProblemError(404, f"There is no entry {name[:MAX_NAME]!r}.", key="entry")
    [removed] = await remove_entries(call.device, [name])
    return json_response(removed.document())


async def import_addressbook(call: Call) -> Response:
    """Import entries from CSV, or return what that would change."""
    dry_run, replace_all = call.body.get("dry_run", False), call.body.get("replace_all", False)
    contents = read_csv(call.body["csv"].encode("utf-8", "replace"))
    if dry_run:
        changes = (await load_book(call.device)).changes(contents.entries, replace_all=replace_all)
    else:
        _check_permission(call)
        changes = await save_entries(call.device, contents.entries, replace_all=replace_all)
    return json_response({**changes.document(), "left_out": list(contents.left_out), "dry_run": dry_run})


async def export_addressbook(call: Call) -> Response:
    """Return the address book as CSV."""
    book = await load_book(call.device)
    separator = _SEPARATORS[call.query.get("separator", "comma")]
    return Response(write_csv(book.entries.values(), separator), media_type="text/csv")


async def search_directory(call: Call) -> Response:
    """Search the directory behind the address book."""
    answer = await directory_of(call.device).search(call.query.get("text", ""))
    entries = [entry.document() for entry in answer.entries]
    return json_response({"entries": entries, "is_complete": answer.is_complete})


async def test_directory(call: Call) -> Response:
    """Test the directory."""
    directory = directory_of(call.device)
    try:
        answer = await directory.test()
        result = {"ok": bool(answer.entries), "cause": None, "message": sentence_of_test(directory.source, answer)}
    except MailError as error:
        result = {"ok": False, "cause": error.cause, "message": str(error)}
    return json_response(result)


def _check_permission(call: Call) -> None:
    """Refuse an API key if a change of the address book could change what the administrator's rules allow.

    Raises:
        ProblemError: 403, the rules for sending rely on the address book.
    """
    if requested_by(call.request) == "api_key" and needs_book(call.device.settings(SECTION)):
        raise ProblemError(
            403, "The rules for sending rely on the address book, so only the administrator can change it."
        )


path_parameters = {"entry": _NAME}

schemas = {
    "AddressBookEntry": object_schema(
        name={**STRING, "description": "What is typed for it, as @name."},
        display_name=STRING,
        addresses=STRINGS,
        fax_addresses=STRINGS,
        groups=STRINGS,
    ),
    "DirectoryAnswer": object_schema(
        entries=list_of(schema_ref("AddressBookEntry")),
        is_complete={**BOOLEAN, "description": "Whether these are all that it has."},
    ),
    "DirectoryTest": object_schema(
        ok=BOOLEAN,
        cause={**nullable(STRING), "description": "An id of the catalogue of causes."},
        message={**STRING, "description": "What was found, in one sentence."},
    ),
    "AddressBookChanges": object_schema(
        added=STRINGS,
        changed=STRINGS,
        removed=STRINGS,
        unchanged=STRINGS,
        left_out={**STRINGS, "description": "The rows that have no address, each with its line."},
        dry_run=BOOLEAN,
    ),
}

operations = (
    Operation(
        "GET",
        "/addressbook-directory",
        search_directory,
        "Search the directory behind the address book.",
        {200: ResponseSpec("What it has.", schema_ref("DirectoryAnswer"))},
        query={"text": {**STRING, "maxLength": 1000, "description": "Each word begins a name or an address."}},
    ),
    Operation(
        "POST",
        "/addressbook-directory-test",
        test_directory,
        "Test the directory behind the address book.",
        {200: ResponseSpec("The result.", schema_ref("DirectoryTest"))},
    ),
    Operation(
        "GET",
        "/addressbook",
        list_addressbook,
        "List the entries of the address book.",
        {200: ResponseSpec("The entries.", list_of(schema_ref("AddressBookEntry")))},
        query={"name": {**_NAME, "description": "Only this entry, or the entries of this group."}},
    ),
    Operation(
        "POST",
        "/addressbook",
        put_addressbook_entry,
        "Add an entry, or replace the one of its name.",
        {200: ResponseSpec("The entry.", schema_ref("AddressBookEntry"))},
        body=closed_object_schema(
            {"display_name": STRING, "addresses": STRINGS, "fax_addresses": STRINGS, "groups": STRINGS}, name=_NAME
        ),
    ),
    Operation(
        "DELETE",
        "/addressbook/{entry}",
        remove_addressbook_entry,
        "Remove an entry.",
        {200: ResponseSpec("The entry as it was.", schema_ref("AddressBookEntry"))},
    ),
    Operation(
        "POST",
        "/addressbook-import",
        import_addressbook,
        "Import entries from CSV: all of them, or none if a line is wrong.",
        {200: ResponseSpec("What changes.", schema_ref("AddressBookChanges"))},
        body=closed_object_schema(
            {
                "dry_run": {**BOOLEAN, "description": "Only say what would change."},
                "replace_all": {**BOOLEAN, "description": "Remove all entries that it lacks."},
            },
            csv={**STRING, "description": "The file's contents; the first line names the columns."},
        ),
    ),
    Operation(
        "GET",
        "/addressbook-export",
        export_addressbook,
        "Export the address book as CSV, in UTF-8.",
        {200: ResponseSpec("The address book.", media_type="text/csv")},
        query={"separator": enum_of(*_SEPARATORS)},
    ),
)

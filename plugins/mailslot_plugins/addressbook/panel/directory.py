"""``/addressbook/directory``: the directory behind the address book, its password and its test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot.wire.secret import Secret
from mailslot_plugins.addressbook.directory.directory import directory_of
from mailslot_plugins.addressbook.directory.directory_error import DirectoryError
from mailslot_plugins.addressbook.directory.password import has_password, store_password
from mailslot_plugins.addressbook.directory.sentences import sentence_of_test
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.sentences import translated

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.plugin import Device
    from mailslot_plugins.addressbook.directory.source import Source

FOLDER: Final = "addressbook"
HERE: Final = "/addressbook/directory"
SUGGESTIONS: Final = "/addressbook/suggestions"

_MAX_SUGGESTIONS: Final = 20


def is_set(device: Device) -> bool:
    """Whether the address book has a directory that can be searched."""
    try:
        return directory_of(device).source is not None
    except MailError:
        return False


async def show(request: Request) -> Response:
    """Return the page."""
    return await _page(request)


async def test(request: Request) -> Response:
    """Test the directory, and show the result."""
    directory = directory_of(device_of(request))
    try:
        sentence = sentence_of_test(directory.source, await directory.test())
    except MailError as error:
        return redirect(request, HERE, str(error), "warning")
    return redirect(request, HERE, sentence)


async def save_password(request: Request) -> Response:
    """Store the password of the directory's user."""
    device = device_of(request)
    password = Secret(str(request.state.form.get("password", "")))
    try:
        await run_sync(store_password, device.records.vault, directory_of(device).source, password)
    except (InputError, DirectoryError) as error:
        return await _page(request, {"password": translated(str(error), request.state.language)})
    return redirect(request, HERE, text(request, FOLDER, "password_is_stored"))


async def suggest(request: Request) -> Response:
    """Return the suggestions for ``text`` in the query, as pairs of a value and its meaning."""
    typed = request.query_params.get("text", "")[:100]
    try:
        answer = await directory_of(device_of(request)).search(typed)
    except MailError:
        # The names of the address book are suggested without it.
        return JSONResponse([])
    return JSONResponse(
        [
            (f"@{entry.name}", entry.display_name or (*entry.addresses, *entry.fax_addresses)[0])
            for entry in answer.entries[:_MAX_SUGGESTIONS]
        ]
    )


async def _page(request: Request, errors: dict[str, str] | None = None) -> Response:
    device = device_of(request)
    source, fault = await _source(request)
    stored = source is not None and await run_sync(has_password, device.records.vault, source)
    return render(
        request,
        "addressbook/directory.html",
        422 if errors else 200,
        source=source,
        fault=fault,
        has_password=stored,
        errors=errors or {},
    )


async def _source(request: Request) -> tuple[Source | None, str]:
    """Return the directory, and a sentence if its settings cannot be used."""
    try:
        return directory_of(device_of(request)).source, ""
    except MailError as error:
        return None, translated(str(error), request.state.language)


routes = [
    Route(HERE, show),
    Route(f"{HERE}/test", test, methods=["POST"]),
    Route(f"{HERE}/password", save_password, methods=["POST"]),
    Route(SUGGESTIONS, suggest),
]

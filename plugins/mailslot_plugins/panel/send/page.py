"""``/send``: a form with which people send documents as a scan or a fax."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.send.acceptance import accept_documents
from mailslot_plugins.panel.send.form_data import is_form_data
from mailslot_plugins.panel.send.idempotency import request_identity
from mailslot_plugins.panel.send.reception import FILE, Received, receive_documents
from mailslot_plugins.panel.send.senders import PIPELINE, SUBJECT, TO, document_senders

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.spool.job import Job

HERE: Final = "/send"
_KEY: Final = "key"
_FIELDS: Final = (PIPELINE, TO, SUBJECT, FILE)
_ADDRESS_BOOK: Final = "addressbook"


async def show(request: Request) -> Response:
    """Return the form."""
    return await _form(request)


async def send(request: Request) -> Response:
    """Send the documents in the form, and go to the job; sent twice, the form becomes one job."""
    received = Received()
    try:
        first = await _accept(request, received)
    except (ProblemError, MailError) as error:
        key = error.key if isinstance(error, ProblemError | InputError) else ""
        sentence = _missing(request, key, received) or _explained(request, key, str(error))
        return await _form(request, received, {key if key in _FIELDS else "": sentence})
    return redirect(request, f"/jobs/{first.id}", notice=text(request, "send", "accepted"))


async def _accept(request: Request, received: Received) -> Job:
    device = device_of(request)
    if not is_form_data(request.headers.get("content-type", "")):
        raise ProblemError(415, text(request, "send", "no_form"))
    async with device.working_folder() as folder:
        await receive_documents(request, device.spool, folder, received)
        key = received.fields.pop(_KEY, [""])[0]
        # Each form has a key of its own, so that a second click or a reload sends nothing twice. Somebody who goes back
        # in the browser may send something else with the same form.
        identity = request_identity("form", key, received) if key else None
        if identity is not None:
            identity = replace(identity, key=f"{identity.key}-{identity.fingerprint}")
        return (await accept_documents(device, received, folder, identity))[0]


def _missing(request: Request, key: str, received: Received) -> str:
    """Return what to do about a field that was left empty; empty if the error is another one."""
    is_missing = not received.documents if key == FILE else key == TO and TO not in received.fields
    return text(request, "send", f"{key}_missing") if is_missing else ""


def _explained(request: Request, key: str, sentence: str) -> str:
    """Return the sentence of an error, with words in the page's language before it if it is about this field."""
    return text(request, "send", f"{key}_wrong", sentence=sentence) if key in {TO, FILE} else sentence


async def _form(request: Request, received: Received | None = None, errors: dict[str, str] | None = None) -> Response:
    senders = await run_sync(document_senders)
    fields = {} if received is None else received.fields
    typed: dict[str, Any] = {name: ", ".join(fields.get(name, ())) for name in _FIELDS}
    return render(
        request,
        "send/send.html",
        422 if errors else 200,
        senders=list(senders),
        typed=typed,
        errors=errors or {},
        chosen=bool(received and received.documents),
        key=secrets.token_hex(16),
        suggestions=await _suggestions(request),
    )


async def _suggestions(request: Request) -> list[tuple[str, str]]:
    for page in request.app.state.pages:
        if page.name == _ADDRESS_BOOK:
            found: list[tuple[str, str]] = await page.suggestions(device_of(request))
            return found
    return []


routes = [Route(HERE, show), Route(HERE, send, methods=["POST"])]

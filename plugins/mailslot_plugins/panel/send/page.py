"""``/send``: the form for sending documents as a scan or a fax."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.render import device_of, redirect, render, text
from mailslot_plugins.panel.security.paths import is_poll
from mailslot_plugins.panel.send.acceptance import accept_documents, find_sender
from mailslot_plugins.panel.send.form_data import is_form_data
from mailslot_plugins.panel.send.idempotency import request_identity
from mailslot_plugins.panel.send.reception import FILE, Received, receive_documents
from mailslot_plugins.panel.send.scan_now import find_scan, start_scan
from mailslot_plugins.panel.send.senders import PIPELINE, SUBJECT, TO, document_senders
from mailslot_plugins.panel.sentences import translated

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.pipelines import PipelinePage
    from mailslot_plugins.panel.send.senders import DocumentSender

HERE: Final = "/send"
_KEY: Final = "key"
_SCAN: Final = "acquire"
"""The name of the button that scans the documents first."""
_FIELDS: Final = (PIPELINE, TO, SUBJECT, FILE)


async def show(request: Request) -> Response:
    """Return the form."""
    return await _form(request)


async def send(request: Request) -> Response:
    """Send the documents in the form, and redirect to the job; a form that is sent twice becomes one job."""
    received = Received()
    try:
        first = await _accept(request, received)
        if first is None:
            return redirect(request, f"{HERE}/scan")
    except (ProblemError, MailError) as error:
        key = error.key if isinstance(error, ProblemError | InputError) else ""
        sentence = _missing(request, key, received) or _explained(request, key, str(error))
        return await _form(request, received, {key if key in _FIELDS else "": sentence})
    return redirect(request, f"/jobs/{first.id}", notice=text(request, "send", "accepted"))


async def show_scan(request: Request) -> Response:
    """Return the progress of the started scan, or the form if it cannot be sent; redirect to the job once it exists."""
    task = find_scan(request)
    if task is None:
        return redirect(request, HERE)
    scan, live = task.subject, is_poll(request)
    if task.running:
        return render(request, "send/progress.html" if live else "send/scan.html", scan=scan)
    done = f"{HERE}/scan" if scan.job is None else f"/jobs/{scan.job.id}"
    if live:
        return Response(headers={"HX-Redirect": done})
    if scan.job is not None:
        return redirect(request, done, notice=text(request, "send", "accepted"))
    key, sentence = scan.error_key, str(scan.error or text(request, "send", "interrupted"))
    return await _form(request, scan.received, {key if key in _FIELDS else "": _explained(request, key, sentence)})


async def cancel_scan(request: Request) -> Response:
    """Cancel the scan."""
    task = find_scan(request)
    if task is not None:
        task.scope.cancel()
        await task.ended.wait()
    return redirect(request, HERE)


async def _accept(request: Request, received: Received) -> Job | None:
    """Put the documents of a form into the spool, and return their job; None if they have to be scanned first."""
    device = device_of(request)
    if not is_form_data(request.headers.get("content-type", "")):
        raise ProblemError(415, text(request, "send", "no_form"))
    async with device.working_folder() as folder:
        await receive_documents(request, device.spool, folder, received)
        key = received.fields.pop(_KEY, [""])[0]
        if received.fields.pop(_SCAN, None):
            await _start_scan(request, received)
            return None
        # Each form has its own key, so that a second click or a reload sends nothing twice. A person who goes back in
        # the browser may send other documents with the same form.
        identity = request_identity("form", key, received) if key else None
        if identity is not None:
            identity = replace(identity, key=f"{identity.key}-{identity.fingerprint}")
        return (await accept_documents(device, received, folder, identity))[0]


async def _start_scan(request: Request, received: Received) -> None:
    sender = find_sender(await run_sync(document_senders), received)
    if not _can_scan(sender, device_of(request)):
        raise ProblemError(422, text(request, "send", "no_scanner"), key=PIPELINE)
    # Files that were chosen in addition end with the request.
    received.documents.clear()
    if not start_scan(request, sender, received):
        raise ProblemError(409, text(request, "send", "scan_is_running"))


def _can_scan(sender: DocumentSender, device: Device) -> bool:
    return sender.acquire is not None and sender.can_acquire is not None and sender.can_acquire(device)


def _missing(request: Request, key: str, received: Received) -> str:
    """Return the advice for a field that was left empty; empty for any other error."""
    is_missing = not received.documents if key == FILE else key == TO and TO not in received.fields
    return text(request, "send", f"{key}_missing") if is_missing else ""


def _explained(request: Request, key: str, sentence: str) -> str:
    """Return the sentence of an error in the page's language; if it has none, with the field's name before it."""
    shown = translated(sentence, request.state.language)
    return (
        text(request, "send", f"{key}_wrong", sentence=sentence) if shown == sentence and key in {TO, FILE} else shown
    )


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
        search=await _search_address(request),
        can_scan=any(_can_scan(sender, device_of(request)) for sender in senders.values()),
    )


async def _suggestions(request: Request) -> list[tuple[str, str]]:
    """Return the recipients that the pages of pipelines suggest, each with its meaning."""
    pages: tuple[PipelinePage, ...] = request.app.state.pages
    return [each for page in pages for each in await page.suggestions(device_of(request))]


async def _search_address(request: Request) -> str:
    """Return the path that returns further suggestions; empty if there is none."""
    pages: tuple[PipelinePage, ...] = request.app.state.pages
    found = [await page.search_address(device_of(request)) for page in pages]
    return next(filter(None, found), "")


routes = [
    Route(HERE, show),
    Route(HERE, send, methods=["POST"]),
    Route(f"{HERE}/scan", show_scan),
    Route(f"{HERE}/scan/cancel", cancel_scan, methods=["POST"]),
]

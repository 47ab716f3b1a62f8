"""Accepts received documents: finds their pipeline, checks their fields, and has the pipeline send them once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot_plugins.panel.api.validation import validate
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.send.reception import FILE
from mailslot_plugins.panel.send.senders import PIPELINE, TO, document_senders
from mailslot_plugins.sending.submission import Submission, find_earlier_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.api.json_schema import Schema
    from mailslot_plugins.panel.send.reception import Received
    from mailslot_plugins.panel.send.senders import DocumentSender
    from mailslot_plugins.sending.submission import RequestIdentity

_FIELDS_BY_STAGE: Final = {"envelope": TO, "data": FILE}

_locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
"""A lock for each key that is in use, so that the same request at the same time waits for the first one's result."""


async def accept_documents(
    device: Device, received: Received, folder: Path, request: RequestIdentity | None
) -> list[Job]:
    """Put received documents into the spool.

    Args:
        device: the device.
        received: the documents and fields.
        folder: a folder for further files.
        request: the identity of the request, with which a repetition has the same jobs; None without one.

    Returns:
        the jobs; at least one.

    Raises:
        ProblemError: 422, a field is unknown, missing or not valid.
        InputError: a field or document cannot be used; its ``key`` is the field.
        MailError: the spool has no room, or cannot be written.
    """
    senders = await run_sync(document_senders)
    sender = find_sender(senders, received)
    submission = make_submission(sender, received, folder, request)
    if not received.documents:
        raise ProblemError(422, "file is missing.", key=FILE)
    try:
        if request is None:
            return await sender.send(device, submission)
        async with _locks.setdefault(request.key, anyio.Lock()):
            for name in senders:
                if earlier := await find_earlier_jobs(device.spool, name, request):
                    return earlier
            return await sender.send(device, submission)
    except InputError as error:
        error.key = field_of(error)
        raise


def field_of(error: InputError) -> str:
    """Return the field that an error is about; empty if it is about none."""
    return error.key or _FIELDS_BY_STAGE.get(error.stage, "")


def make_submission(
    sender: DocumentSender, received: Received, folder: Path, request: RequestIdentity | None
) -> Submission:
    """Return the submission for the pipeline that sends it.

    Raises:
        ProblemError: 422, a field is unknown, missing or not valid.
    """
    fields = {name: values for name, values in received.fields.items() if name != PIPELINE}
    _check_fields(sender.fields, fields)
    return Submission(received.documents, fields, folder, request)


def find_sender(senders: Mapping[str, DocumentSender], received: Received) -> DocumentSender:
    """Return the pipeline that sends the received documents.

    Raises:
        ProblemError: 422, it is missing or unknown.
    """
    values = received.fields.get(PIPELINE, [])
    if len(values) != 1 or values[0] not in senders:
        known = ", ".join(senders)
        given = f"is given {len(values)} times" if len(values) > 1 else "is missing" if not values else "is unknown"
        raise ProblemError(422, f"{PIPELINE} {given}; it must be one of {known}.", key=PIPELINE)
    return senders[values[0]]


def _check_fields(schemas: Mapping[str, Schema], fields: Mapping[str, Sequence[str]]) -> None:
    document: dict[str, Any] = {}
    for name, values in fields.items():
        if name in schemas and schemas[name].get("type") != "array":
            if len(values) > 1:
                raise ProblemError(422, f"{name} is given {len(values)} times.", key=name)
            document[name] = values[0]
        else:
            document[name] = list(values)
    schema = {"type": "object", "properties": schemas, "required": [TO], "additionalProperties": False}
    validate(schema, document, "")

"""The pipelines that send documents.

The package that a pipeline names in `mailslot.service.pipeline.PanelPackage` may have a module ``documents`` with
``send``, which accepts a `mailslot_plugins.sending.submission.Submission` and returns its jobs, and ``fields``, the
schemas of its fields in addition to those that all documents have. If the pipeline has a scanner, the module also has
``acquire``, which scans documents for a submission, and ``can_acquire``, which returns whether a scanner is set up.
Our own pipelines do the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.entry_points import describe_error
from mailslot.exit_guard import ExitGuard
from mailslot.service.pipeline import panel_package
from mailslot.shortage import is_shortage
from mailslot_plugins.panel.api.json_schema import Schema, closed_object_schema, enum_of, list_of
from mailslot_plugins.panel.pipelines import pipelines
from mailslot_plugins.panel.send.reception import FILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from mailslot.service.device import Device
    from mailslot.service.pipeline import Pipeline
    from mailslot.spool.job import Job
    from mailslot_plugins.sending.submission import Submission, SubmittedDocument

    Progress = Callable[[int, float], None]

logger = logging.getLogger(__name__)

PIPELINE: Final = "pipeline"
TO: Final = "to"
SUBJECT: Final = "subject"
_COMMON: Final[Mapping[str, Schema]] = {
    TO: {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "description": "The recipients, as in the command: repeated, or separated by commas.",
    },
    SUBJECT: {"type": "string", "maxLength": 1000, "description": "The subject; the settings decide without it."},
}


@dataclass(frozen=True, slots=True, eq=False)
class DocumentSender:
    """A pipeline that sends documents.

    Attributes:
        name: the pipeline's name.
        fields: the schemas of all its fields, by name.
        send: puts documents into the spool, and returns the jobs.
        acquire: scans documents, with its progress as the page and the scanned fraction of it; None without a scanner.
        can_acquire: returns whether a scanner is set up; None without one.
    """

    name: str
    fields: Mapping[str, Schema]
    send: Callable[[Device, Submission], Awaitable[list[Job]]]
    acquire: Callable[[Device, Submission, Progress], Awaitable[list[SubmittedDocument]]] | None = None
    can_acquire: Callable[[Device], bool] | None = None


def document_senders() -> Mapping[str, DocumentSender]:
    """Return the pipelines that send documents, by name. Pipelines are loaded: call it in a thread."""
    return _load(pipelines())


@lru_cache(maxsize=4)
def _load(found: tuple[Pipeline, ...]) -> Mapping[str, DocumentSender]:
    senders: dict[str, DocumentSender] = {}
    for pipeline in found:
        package = panel_package(pipeline)
        if package is None or not package.sends_documents:
            continue
        try:
            with ExitGuard():
                module = import_module(f"{package.name}.documents")
                fields = {**_COMMON, **cast("dict[str, Any]", module.fields)}
                optional = {name: getattr(module, name, None) for name in ("acquire", "can_acquire")}
                senders[pipeline.name] = DocumentSender(pipeline.name, fields, module.send, **optional)
        except Exception as error:
            if is_shortage(error):
                raise
            logger.warning("The pipeline %s takes no documents: %s", pipeline.name, describe_error(error))
    # The pipeline with a scanner comes first, since people use it most.
    return dict(sorted(senders.items(), key=lambda item: item[1].acquire is None))


def form_schema(senders: Iterable[DocumentSender]) -> Schema:
    """Return the schema of the form with documents."""
    found = list(senders)
    fields: dict[str, Schema] = {}
    for name, schema in ((name, schema) for sender in found for name, schema in sender.fields.items()):
        having = [sender.name for sender in found if name in sender.fields]
        only = "" if len(having) == len(found) else f" Only for {', '.join(having)}."
        fields.setdefault(name, {**schema, "description": f"{schema.get('description', '')}{only}"})
    to = fields.pop(TO, _COMMON[TO])
    document: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
    files = {**list_of(document), "minItems": 1, "description": "The documents, in order."}
    return closed_object_schema(fields, **{PIPELINE: enum_of(*(sender.name for sender in found)), TO: to, FILE: files})

"""The tasks of the confined process, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot_plugins.intake.limits import Limits

_TASKS: Final[Mapping[str, str]] = {
    "mail": "intake.mime:read_mail",
    "documents": "intake.document_files:write_documents",
    "fax": "intake.documents:make_fax",
    "received": "fax.received_pages:make_received_pages",
    "printable": "intake.printable:make_printable",
    "count": "intake.printable:count_pages",
    "thumbnail": "intake.thumbnail:make_thumbnail",
}
"""The module and function of each task. Only the needed one is imported, since Pillow and PDFium take a while."""


def perform_task(name: str, request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Perform a task and return its result.

    Raises:
        IntakeRefusedError: it refuses the mail or document.
    """
    module, _, function = _TASKS[name].partition(":")
    result: dict[str, Any] = getattr(import_module(f"mailslot_plugins.{module}"), function)(request, limits)
    return result

"""Extracts the documents of a mail in the confined process: its attachments, unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailslot_plugins.intake.entity import parse_mail
from mailslot_plugins.intake.limits import MAX_DOCUMENTS
from mailslot_plugins.intake.mime import check_header, first_charset
from mailslot_plugins.intake.refusal import IntakeRefusedError

if TYPE_CHECKING:
    from mailslot_plugins.intake.entity import Entity
    from mailslot_plugins.intake.limits import Limits

HEAD_SIZE: Final = 8
"""The number of a document's first octets that are returned with its name."""

_MAX_TEXT: Final = 500
"""The most characters of a name or type that are returned; file names have fewer."""


def write_documents(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Find the documents in the mail in the file ``request["path"]``, and write some of them into the working folder.

    An attached mail is one document, and texts without a name are none.

    Args:
        request: ``path``; ``wanted``, the numbers, from 1, of the documents to write, or None for all; ``prefix``, the
            beginning of the names of their files, before the number.
        limits: the limits of the task.

    Returns:
        ``documents``: of each, its ``name`` and ``type`` as the mail says, its ``size``, and ``head``, its first octets
        in hexadecimal.

    Raises:
        IntakeRefusedError: it exceeds the limits.
    """
    path = Path(request["path"])
    check_header(path, limits)
    root = parse_mail(path.read_bytes(), limits, opens_mails=False)
    charset = first_charset(root)
    found = [entity for entity in _leaves(root) if _is_document(entity)]
    if len(found) > MAX_DOCUMENTS:
        raise IntakeRefusedError(f"The mail has more than {MAX_DOCUMENTS} documents.")
    wanted: list[int] | None = request["wanted"]
    documents: list[dict[str, Any]] = []
    for number, entity in enumerate(found, 1):
        octets = entity.decoded()
        if wanted is None or number in wanted:
            Path(f"{request['prefix']}{number}").write_bytes(octets)
        documents.append(
            {
                "name": (entity.name(charset) or "")[:_MAX_TEXT],
                "type": entity.content_type[:_MAX_TEXT],
                "size": len(octets),
                "head": octets[:HEAD_SIZE].hex(),
            }
        )
    return {"documents": documents}


def _leaves(root: Entity) -> list[Entity]:
    """Return the parts that contain no others, in order."""
    found: list[Entity] = []
    waiting = [root]  # the next one comes last
    while waiting:
        entity = waiting.pop()
        if entity.children:
            waiting += reversed(entity.children)
        else:
            found.append(entity)
    return found


def _is_document(entity: Entity) -> bool:
    is_text = entity.content_type.startswith(("text/", "multipart/"))
    return not is_text or entity.disposition == "attachment" or entity.name() is not None

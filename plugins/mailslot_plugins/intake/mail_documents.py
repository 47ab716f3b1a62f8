"""Extracts the documents of a fetched mail in the confined process, for people to open and save."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.errors import InputError
from mailslot.message.filename import safe_name, unique_names
from mailslot.service.received import not_kept_error
from mailslot_plugins.intake.limits import MAX_DOCUMENTS, Limits
from mailslot_plugins.intake.process import IntakeError, run_task

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from mailslot.spool.incoming import Incoming
    from mailslot.spool.ledger import Ledger

LIMITS: Final = Limits(parts=2 * MAX_DOCUMENTS, depth=50)
"""The limits; more parts than for printed mail are allowed, since people search these mails for a document."""

_PREFIX: Final = "document-"
_CONTENT_TYPE: Final = re.compile(r"[!-.0-~]+/[!-.0-~]+")
_BINARY: Final = "application/octet-stream"
_SUFFIXES: Final = {
    "application/pdf": ".pdf",
    "image/tiff": ".tif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "message/rfc822": ".eml",
    "text/plain": ".txt",
    "text/html": ".html",
}


@dataclass(frozen=True, slots=True)
class MailDocument:
    """A document in a mail.

    Attributes:
        name: its file name, which is safe on any system and unique in its mail.
        content_type: its type, as the mail says; ``application/octet-stream`` if that is not a media type.
        size: its octets.
        head: its first octets.
        path: the file with its octets, if it was requested.
    """

    name: str
    content_type: str
    size: int
    head: bytes
    path: Path


async def take_documents(
    ledger: Ledger, mail: Incoming, folder: Path, wanted: Collection[int] | None = None
) -> list[MailDocument]:
    """Return the documents in a fetched mail, without its texts.

    Args:
        ledger: the fetched mail.
        mail: the mail.
        folder: an existing folder for the files; the caller removes it.
        wanted: the numbers, from 1, of the documents to write as files; None for all.

    Raises:
        InputError: it is no longer kept, exceeds a limit, or is too damaged to be parsed.
        SpoolError: it cannot be read.
    """
    async with ledger.local_file(mail) as path:
        if path is None:
            raise not_kept_error(mail)
        request = {"path": str(path), "prefix": _PREFIX, "wanted": None if wanted is None else [*wanted]}
        try:
            result = await run_task("documents", request, folder, LIMITS)
        except IntakeError as error:
            raise InputError(
                f"Mail {mail.id} cannot be taken apart; save it as a whole. {error}", stage="spool", detail=repr(error)
            ) from error
    found = cast("list[dict[str, Any]]", result["documents"])
    # The result of the confined process comes from a stranger's mail, so it is made safe here.
    types = [_content_type(str(each["type"])) for each in found]
    names = unique_names(
        _name(str(each["name"]), content_type, number)
        for number, (each, content_type) in enumerate(zip(found, types, strict=True), 1)
    )
    return [
        MailDocument(name, content_type, int(each["size"]), bytes.fromhex(each["head"]), folder / f"{_PREFIX}{number}")
        for number, (name, content_type, each) in enumerate(zip(names, types, found, strict=True), 1)
    ]


def _name(written: str, content_type: str, number: int) -> str:
    plain = "".join(letter for letter in written if letter.isprintable())
    # A name such as .bash_profile would be read by programs, and hidden from the person who saved it.
    visible = safe_name(plain).lstrip(". ") if plain else ""
    return safe_name(visible or f"{_PREFIX}{number}{_SUFFIXES.get(content_type, '')}")


def _content_type(written: str) -> str:
    """Return the type if it is well-formed; anything else could move the cursor of a terminal."""
    return written if _CONTENT_TYPE.fullmatch(written) else _BINARY

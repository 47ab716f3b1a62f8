"""Which parts of a mail are printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.intake.mail import OpenedMail, Part

MAX_OCTETS: Final = 50_000_000
"""Octets of the largest attachment."""

SMALL: Final = 20_000
"""Octets below which a picture that the text shows is a logo, and not printed."""

BODY: Final = "text of the mail"

_PLAIN: Final = frozenset({"pdf", "tiff", "jpeg", "png", "gif", "bmp", "webp"})
_LANGUAGES: Final = frozenset({"postscript", "pcl", "pjl"})
_WORDS: Final[Mapping[str, str]] = {
    "postscript": "PostScript is not printed here.",
    "pcl": "PCL is not printed here.",
    "pjl": "PJL is not printed here.",
    "html": "Web pages are not printed.",
    "text": "Files of this kind are not printed.",
}
_LEFT_ALONE: Final = frozenset(
    {
        *("text/calendar", "text/vcard", "text/x-vcard", "application/ms-tnef", "message/disposition-notification"),
        *("message/delivery-status", "application/ics"),
    }
)
"""What comes with mails without anybody wanting it on paper."""


@dataclass(frozen=True, slots=True)
class SelectedPart:
    """A part that is to be printed, or the text.

    Attributes:
        path: its file; None for the mail's text.
        kind: what it is.
        title: what people know it by.
        refusal: why it is not printed; empty where it is.
    """

    path: Path | None
    kind: Kind
    title: str
    refusal: str = ""


def select_parts(mail: OpenedMail, text: str, values: Mapping[str, Any]) -> list[SelectedPart]:
    """Return what is printed of a mail, and what is not though somebody may want it, in order.

    Args:
        mail: the mail.
        text: its text, without what was said to the printer.
        values: the section ``[print]``.
    """
    found = [_chosen(part, values) for part in mail.parts if not _is_decoration(part)]
    most: int = values["max_attachments"]
    found = [
        each if number < most or each.refusal else SelectedPart(each.path, each.kind, each.title, _too_many(most))
        for number, each in enumerate(found)
    ]
    body = values["body"]
    if text.strip() and (body == "always" or (body == "without_attachment" and not found)):
        found.insert(0, SelectedPart(None, "text", BODY))
    return found


def _is_decoration(part: Part) -> bool:
    return part.declared in _LEFT_ALONE or (part.inline and part.size < SMALL)


def _chosen(part: Part, values: Mapping[str, Any]) -> SelectedPart:
    title = part.name or f"attachment ({part.kind})"
    return SelectedPart(part.path, part.kind, title, _refusal(part, values))


def _refusal(part: Part, values: Mapping[str, Any]) -> str:
    if not part.size:
        return "It is empty."
    if part.size > MAX_OCTETS:
        return f"It has more than {MAX_OCTETS // 1_000_000} MB."
    if part.kind in _PLAIN or (part.kind in _LANGUAGES and values["printer_languages"]):
        return ""
    if part.kind == "text" and part.declared in {"text/plain", "application/octet-stream"}:
        return ""
    return _WORDS.get(part.kind, "It is of no kind that can be printed.")


def _too_many(most: int) -> str:
    return f"Only the first {most} attachments of a mail are printed."

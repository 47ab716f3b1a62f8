"""Selects the parts of a mail that are printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.intake.mail import OpenedMail, Part

MAX_OCTETS: Final = 50_000_000
"""The most octets of an attachment."""

MIN_INLINE_OCTETS: Final = 20_000
"""Octets; a smaller inline picture is taken for a logo and not printed."""

BODY: Final = "text of the mail"

_PRINTABLE: Final = frozenset({"pdf", "tiff", "jpeg", "png", "gif", "bmp", "webp"})
_LANGUAGES: Final = frozenset({"postscript", "pcl", "pjl"})
_REFUSALS: Final[Mapping[str, str]] = {
    "postscript": "PostScript is not printed here.",
    "pcl": "PCL is not printed here.",
    "pjl": "PJL is not printed here.",
    "html": "Web pages are not printed.",
    "text": "Files of this kind are not printed.",
}
_IGNORED_TYPES: Final = frozenset(
    {
        *("text/calendar", "text/vcard", "text/x-vcard", "application/ms-tnef", "message/disposition-notification"),
        *("message/delivery-status", "application/ics"),
    }
)
"""Parts that nobody wants on paper."""


@dataclass(frozen=True, slots=True)
class SelectedPart:
    """A part to be printed, or the mail's text.

    Attributes:
        path: its file; None for the mail's text.
        kind: its kind.
        title: its name, for people.
        refusal: why it is not printed; empty if it is.
    """

    path: Path | None
    kind: Kind
    title: str
    refusal: str = ""


def select_parts(mail: OpenedMail, text: str, values: Mapping[str, Any]) -> list[SelectedPart]:
    """Return the parts to print, in order, and those that the sender may miss, with a refusal.

    Args:
        mail: the mail.
        text: its text, without the option lines.
        values: the section ``[print]``.
    """
    found = [_select(part, values) for part in mail.parts if not _is_decoration(part)]
    max_attachments: int = values["max_attachments"]
    found = [
        each
        if number < max_attachments or each.refusal
        else SelectedPart(each.path, each.kind, each.title, _too_many(max_attachments))
        for number, each in enumerate(found)
    ]
    body = values["body"]
    if text.strip() and (body == "always" or (body == "without_attachment" and not found)):
        found.insert(0, SelectedPart(None, "text", BODY))
    return found


def _is_decoration(part: Part) -> bool:
    return part.declared in _IGNORED_TYPES or (part.inline and part.size < MIN_INLINE_OCTETS)


def _select(part: Part, values: Mapping[str, Any]) -> SelectedPart:
    title = part.name or f"attachment ({part.kind})"
    return SelectedPart(part.path, part.kind, title, _refusal(part, values))


def _refusal(part: Part, values: Mapping[str, Any]) -> str:
    if not part.size:
        return "It is empty."
    if part.size > MAX_OCTETS:
        return f"It has more than {MAX_OCTETS // 1_000_000} MB."
    if part.kind in _PRINTABLE or (part.kind in _LANGUAGES and values["printer_languages"]):
        return ""
    if part.kind == "text" and part.declared in {"text/plain", "application/octet-stream"}:
        return ""
    return _REFUSALS.get(part.kind, "Documents of this kind cannot be printed.")


def _too_many(max_attachments: int) -> str:
    return f"Only the first {max_attachments} attachments of a mail are printed."

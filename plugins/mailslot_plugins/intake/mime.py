"""A mail taken apart, in the process that may break over it: header fields, the text, the parts as files."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailslot_plugins.intake.addresses import MAX_ADDRESSES, addresses
from mailslot_plugins.intake.automatic import LIST_FIELDS, REPORT_FIELDS
from mailslot_plugins.intake.charsets import decode
from mailslot_plugins.intake.entity import MAX_FIELDS, parse_mail
from mailslot_plugins.intake.header_text import header_text
from mailslot_plugins.intake.kinds import LOOKED_AT, kind_of
from mailslot_plugins.intake.leaves import ContentReader
from mailslot_plugins.intake.refused import Refused
from mailslot_plugins.intake.report_reader import is_complaint, report_of

if TYPE_CHECKING:
    from mailslot_plugins.intake.entity import Entity
    from mailslot_plugins.intake.leaves import AttachedFile
    from mailslot_plugins.intake.limits import Limits

_MAX_KEPT: Final = 4000
"""Characters of a field that are kept."""

_MAX_NAME: Final = 120
_MAX_SUFFIX: Final = 10

KEPT: Final = frozenset(
    {
        *("from", "sender", "reply-to", "return-path", "subject", "date", "message-id", "in-reply-to", "references"),
        *("to", "auto-submitted", "precedence", "content-type", "received", "authentication-results"),
        *("x-auto-response-suppress", "x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-response", "x-loop"),
        *("list-id", "list-unsubscribe", "list-post", "list-help", "list-owner", "list-archive", "mailing-list"),
        *("feedback-id", "disposition-notification-to", "disposition-notification-options", "original-recipient"),
        *REPORT_FIELDS,
        *LIST_FIELDS,
    }
)
"""The header fields that are handed out."""

_IDENTIFIER: Final = re.compile(r"<[!-;=?-~]{1,250}>")
_UNSAFE_IN_NAME: Final = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def open_mail(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Take the mail in the file ``request["path"]`` apart; its parts become files in the working folder.

    Returns:
        what `mailslot_plugins.intake.mail.OpenedMail` is made of.

    Raises:
        Refused: it is built to be a burden.
    """
    path = Path(request["path"])
    _check_header(path, limits)
    root = parse_mail(path.read_bytes(), limits)
    content = ContentReader(limits).read(root)
    charset = _charset(root)
    fields = [(name, decode(value, other=charset)[:_MAX_KEPT]) for name, value in root.fields if name in KEPT]
    by_name = dict(reversed(fields))
    senders = [address for name, value in fields if name == "from" for address in addresses(value)][:MAX_ADDRESSES]
    text = content.text()[: limits.text]
    subject = header_text(root.value("subject") or b"", charset)[:1000]
    report = report_of(root, subject, text, senders)
    identifiers = _IDENTIFIER.findall(by_name.get("message-id", ""))
    return {
        "fields": fields,
        "senders": senders,
        "sender": next(iter(addresses(by_name.get("sender", ""))), ""),
        "subject": subject,
        "message_id": identifiers[0] if identifiers else "",
        "references": _IDENTIFIER.findall(by_name.get("references", ""))[-10:],
        "text": text,
        "parts": [_written(part, number, limits, content.flaws) for number, part in enumerate(content.attached)],
        "is_report": root.content_type == "multipart/report" or is_complaint(root),
        "report": None if report is None else report.as_json(),
        "flaws": content.flaws,
    }


def _check_header(path: Path, limits: Limits) -> None:
    with path.open("rb") as file:
        head = file.read(limits.header + 2)
    ends = [position for mark in (b"\r\n\r\n", b"\n\n") if (position := head.find(mark)) >= 0]
    if not ends and len(head) > limits.header:
        raise Refused(f"The mail's header has more than {limits.header:,} octets.")
    header = head[: min(ends)] if ends else head
    if header.count(b"\n") > 20 * MAX_FIELDS:
        raise Refused("The mail's header has too many lines.")


def _charset(root: Entity) -> str:
    """Return the charset of a mail's first text, in which some programs write their fields, too."""
    waiting = [root]
    while waiting:
        entity = waiting.pop()
        charset = entity.parameter("charset") if entity.content_type.startswith("text/") else None
        if charset:
            return charset
        if not entity.is_message():
            waiting += reversed(entity.children)
    return ""


def _written(part: AttachedFile, number: int, limits: Limits, flaws: list[str]) -> dict[str, Any]:
    if len(part.octets) > limits.written:
        raise Refused("A part of the mail is too large.")
    path = Path(f"{number:03}.bin")
    name = harmless_name(part.name)
    path.write_bytes(part.octets)
    if not part.octets:
        flaws.append(f"part {number + 1} is empty")
    return {
        "path": path.name,
        "kind": kind_of(part.octets[:LOOKED_AT], part.declared, name),
        "declared": part.declared,
        "name": name,
        "size": len(part.octets),
        "inline": part.inline,
    }


def harmless_name(name: str) -> str:
    """Return a file's name for people to read: no folder, no control, no sign that turns the direction of writing."""
    # Apple's programs send letters and their accents as characters of their own.
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    cleaned = " ".join(_UNSAFE_IN_NAME.sub(" ", last).split()).lstrip(".")
    cleaned = "".join(letter if letter.isprintable() else "_" for letter in cleaned)
    stem, dot, suffix = cleaned.rpartition(".")
    if len(cleaned) > _MAX_NAME and stem and len(suffix) <= _MAX_SUFFIX:
        return stem[: _MAX_NAME - len(suffix) - 1] + dot + suffix
    return cleaned[:_MAX_NAME]

"""Parses a mail in the confined process: header fields, text, and attachments as files."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailslot_plugins.intake.addresses import MAX_ADDRESSES, parse_addresses
from mailslot_plugins.intake.charsets import decode
from mailslot_plugins.intake.content import ContentReader
from mailslot_plugins.intake.entity import MAX_FIELDS, parse_mail
from mailslot_plugins.intake.header_text import decode_header
from mailslot_plugins.intake.kinds import HEAD_SIZE, detect_kind
from mailslot_plugins.intake.machine_mail import LIST_FIELDS, REPORT_FIELDS
from mailslot_plugins.intake.refusal import IntakeRefusedError
from mailslot_plugins.intake.report_reader import is_complaint, read_report

if TYPE_CHECKING:
    from mailslot_plugins.intake.content import AttachedFile
    from mailslot_plugins.intake.entity import Entity
    from mailslot_plugins.intake.limits import Limits

_MAX_KEPT: Final = 4000
"""The most characters of a field that are kept."""

_MAX_NAME: Final = 120
_MAX_SUFFIX: Final = 10

KEPT_FIELDS: Final = frozenset(
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
"""The header fields that are returned."""

_IDENTIFIER: Final = re.compile(r"<[!-;=?-~]{1,250}>")
_UNSAFE_IN_NAME: Final = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def read_mail(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Parse the mail in the file ``request["path"]``; its attachments become files in the working folder.

    Returns:
        the values for `mailslot_plugins.intake.mail.OpenedMail`.

    Raises:
        IntakeRefusedError: it is encrypted, a fragment, or exceeds the limits.
    """
    path = Path(request["path"])
    check_header(path, limits)
    root = parse_mail(path.read_bytes(), limits)
    content = ContentReader(limits).read(root)
    charset = first_charset(root)
    fields = [(name, decode(value, fallback=charset)[:_MAX_KEPT]) for name, value in root.fields if name in KEPT_FIELDS]
    by_name = dict(reversed(fields))
    senders = [address for name, value in fields if name == "from" for address in parse_addresses(value)][
        :MAX_ADDRESSES
    ]
    text = content.text()[: limits.text]
    subject = decode_header(root.value("subject") or b"", charset)[:1000]
    report = read_report(root, subject, text, senders)
    identifiers = _IDENTIFIER.findall(by_name.get("message-id", ""))
    return {
        "fields": fields,
        "senders": senders,
        "sender": next(iter(parse_addresses(by_name.get("sender", ""))), ""),
        "subject": subject,
        "message_id": identifiers[0] if identifiers else "",
        "references": _IDENTIFIER.findall(by_name.get("references", ""))[-10:],
        "text": text,
        "parts": [
            _write_part(part, number, limits, content.defects) for number, part in enumerate(content.attachments)
        ],
        "is_report": root.content_type == "multipart/report" or is_complaint(root),
        "report": None if report is None else report.as_json(),
        "defects": content.defects,
    }


def check_header(path: Path, limits: Limits) -> None:
    """Check the size of a mail's header, before all of the mail is read.

    Raises:
        IntakeRefusedError: it exceeds the limits.
    """
    with path.open("rb") as file:
        head = file.read(limits.header + 2)
    ends = [position for mark in (b"\r\n\r\n", b"\n\n") if (position := head.find(mark)) >= 0]
    if not ends and len(head) > limits.header:
        raise IntakeRefusedError(f"The mail's header has more than {limits.header:,} octets.")
    header = head[: min(ends)] if ends else head
    if header.count(b"\n") > 20 * MAX_FIELDS:
        raise IntakeRefusedError("The mail's header has too many lines.")


def first_charset(root: Entity) -> str:
    """Return the charset of a mail's first text; some programs use it in header fields, too."""
    pending = [root]
    while pending:
        entity = pending.pop()
        charset = entity.parameter("charset") if entity.content_type.startswith("text/") else None
        if charset:
            return charset
        if not entity.is_message():
            pending += reversed(entity.children)
    return ""


def _write_part(part: AttachedFile, number: int, limits: Limits, defects: list[str]) -> dict[str, Any]:
    if len(part.octets) > limits.file_size:
        raise IntakeRefusedError("A part of the mail is too large.")
    path = Path(f"{number:03}.bin")
    name = safe_display_name(part.name)
    path.write_bytes(part.octets)
    if not part.octets:
        defects.append(f"part {number + 1} is empty")
    return {
        "path": path.name,
        "kind": detect_kind(part.octets[:HEAD_SIZE], part.declared, name),
        "declared": part.declared,
        "name": name,
        "size": len(part.octets),
        "inline": part.inline,
    }


def safe_display_name(name: str) -> str:
    """Return a file name for people to read: without folders, control characters and bidirectional marks."""
    # Apple's programs send letters and their accents as separate characters.
    base_name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    cleaned = " ".join(_UNSAFE_IN_NAME.sub(" ", base_name).split()).lstrip(".")
    cleaned = "".join(character if character.isprintable() else "_" for character in cleaned)
    stem, dot, suffix = cleaned.rpartition(".")
    if len(cleaned) > _MAX_NAME and stem and len(suffix) <= _MAX_SUFFIX:
        return stem[: _MAX_NAME - len(suffix) - 1] + dot + suffix
    return cleaned[:_MAX_NAME]

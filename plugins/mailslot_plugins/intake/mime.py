"""A mail taken apart, in the process that may break over it: header fields, the text, the parts as files.

The standard library's compat32 policy is used: the modern one parses every field as it is read, and takes minutes for
what a hostile sender can write into one.
"""

from __future__ import annotations

import re
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header
from email.parser import BytesParser
from email.utils import getaddresses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot_plugins.intake.html_text import text_of_html
from mailslot_plugins.intake.kinds import LOOKED_AT, kind_of
from mailslot_plugins.intake.refused import Refused
from mailslot_plugins.intake.report import report_of

if TYPE_CHECKING:
    from email.message import Message

    from mailslot_plugins.intake.limits import Limits

_MAX_FIELDS: Final = 500
_MAX_KEPT: Final = 4000
"""Characters of a field that are kept."""

_MAX_ADDRESSES: Final = 50
_MAX_NAME: Final = 120

KEPT: Final = frozenset(
    {
        *("from", "sender", "reply-to", "return-path", "subject", "date", "message-id", "in-reply-to", "references"),
        *("to", "auto-submitted", "precedence", "content-type", "received", "authentication-results"),
        *("x-auto-response-suppress", "x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-response", "x-loop"),
        *("list-id", "list-unsubscribe", "list-post", "list-help", "list-owner", "list-archive", "mailing-list"),
        *("feedback-id", "disposition-notification-to", "disposition-notification-options", "original-recipient"),
    }
)
"""The header fields that are handed out."""

_IDENTIFIER: Final = re.compile(r"<[!-;=?-~]{1,250}>")
_JUNK_IN_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/=\s]")
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
    with path.open("rb") as file:
        message = BytesParser(policy=policy.compat32).parse(file)
    flaws: list[str] = []
    report = report_of(message)
    parts = _parts(message, limits, flaws)
    text, rich, attached = _sorted(parts, limits)
    fields = [
        (name.lower(), str(value)[:_MAX_KEPT]) for name, value in message.items()[:_MAX_FIELDS] if name.lower() in KEPT
    ]
    by_name = dict(reversed(fields))
    identifiers = _IDENTIFIER.findall(by_name.get("message-id", ""))
    return {
        "fields": fields,
        "senders": _addresses([value for name, value in fields if name == "from"]),
        "sender": next(iter(_addresses([by_name.get("sender", "")])), ""),
        "subject": decoded(by_name.get("subject", ""))[:1000],
        "message_id": identifiers[0] if identifiers else "",
        "references": _IDENTIFIER.findall(by_name.get("references", ""))[-10:],
        "text": (text if text.strip() else rich)[: limits.text],
        "parts": [_written(part, number, limits, flaws) for number, part in enumerate(attached)],
        "is_report": message.get_content_type() == "multipart/report",
        "report": None if report is None else report.as_json(),
        "flaws": flaws,
    }


def _check_header(path: Path, limits: Limits) -> None:
    with path.open("rb") as file:
        head = file.read(limits.header + 2)
    ends = [position for mark in (b"\r\n\r\n", b"\n\n") if (position := head.find(mark)) >= 0]
    if not ends and len(head) > limits.header:
        raise Refused(f"The mail's header has more than {limits.header:,} octets.")
    header = head[: min(ends)] if ends else head
    if header.count(b"\n") > 20 * _MAX_FIELDS:
        raise Refused("The mail's header has too many lines.")


def _parts(message: Message, limits: Limits, flaws: list[str]) -> list[Message]:
    """Return the leaves of a mail, of the best alternative where there are several."""
    leaves: list[Message] = []
    waiting: list[tuple[Message, int]] = [(message, 0)]
    seen = 0
    while waiting:
        part, depth = waiting.pop()
        seen += 1
        if seen > limits.parts:
            raise Refused(f"The mail has more than {limits.parts} parts.")
        if depth > limits.depth:
            raise Refused(f"The mail is nested more than {limits.depth} levels deep.")
        kind = part.get_content_type()
        if kind in {"message/partial", "message/external-body"}:
            raise Refused("The mail is a piece of a larger one.")
        if kind in {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}:
            raise Refused("The mail is encrypted.")
        if part.is_multipart():
            inner = cast("list[Message]", part.get_payload())
            waiting += [(child, depth + 1) for child in reversed(inner)]
        else:
            leaves.append(part)
    if message.defects:
        flaws += sorted({type(defect).__name__ for defect in message.defects})
    return leaves


def _sorted(parts: list[Message], limits: Limits) -> tuple[str, str, list[Message]]:
    """Return the plain text, the text of the HTML, and what is attached."""
    plain: list[str] = []
    rich: list[str] = []
    attached: list[Message] = []
    left = limits.text * 4
    for part in parts:
        kind = part.get_content_type()
        body = part.get_content_disposition() != "attachment" and _name(part) is None
        if body and kind == "text/plain":
            plain.append(_text(part)[:left])
            left -= len(plain[-1])
        elif body and kind == "text/html":
            rich.append(text_of_html(_text(part)[:left]))
        elif kind not in {"text/x-amp-html", "application/pgp-signature", "application/pkcs7-signature"}:
            attached.append(part)
    return "\n\n".join(plain), "\n\n".join(rich), attached


def _written(part: Message, number: int, limits: Limits, flaws: list[str]) -> dict[str, Any]:
    declared = part.get_content_type()
    name = harmless_name(decoded(_name(part) or ""))
    # An attachment's octets are kept as they are; the parser would decode text, and stumbles over odd charsets.
    del part["Content-Type"]
    raw = part.get_payload()
    if isinstance(raw, str) and str(part.get("Content-Transfer-Encoding", "")).strip().lower() == "base64":
        junk = len(_JUNK_IN_BASE64.findall(raw.encode("utf-8", "replace")))
        if junk * 100 > len(raw):
            raise Refused("A part of the mail is not in base64, as it says.")
    octets = part.get_payload(decode=True)
    if not isinstance(octets, bytes):
        octets = b""
    if len(octets) > limits.written:
        raise Refused("A part of the mail is too large.")
    path = Path(f"{number:03}.bin")
    path.write_bytes(octets)
    if not octets:
        flaws.append(f"part {number + 1} is empty")
    return {
        "path": path.name,
        "kind": kind_of(octets[:LOOKED_AT]),
        "declared": declared,
        "name": name,
        "size": len(octets),
        "inline": part.get_content_disposition() != "attachment" and part.get("Content-ID") is not None,
    }


def _name(part: Message) -> str | None:
    """Return a part's file name; None where it has none."""
    try:
        return part.get_filename()
    except (LookupError, ValueError):
        # It is in a charset that cannot be one (RFC 2231).
        return ""


def _text(part: Message) -> str:
    octets = part.get_payload(decode=True)
    if not isinstance(octets, bytes):
        return ""
    try:
        charset = part.get_content_charset("utf-8") or "utf-8"
        return octets.decode(charset, "replace")
    except (LookupError, ValueError):
        return octets.decode("latin-1")


def _addresses(values: list[str]) -> list[str]:
    """Return the addresses of fields; one that cannot be parsed is there, and empty."""
    found: list[str] = []
    for value in values:
        if value.count("(") > 20 or value.count(",") > 10 * _MAX_ADDRESSES:
            found.append("")
        else:
            found += [address for _, address in getaddresses([value])]
    return found[:_MAX_ADDRESSES]


def decoded(value: str) -> str:
    """Return a field's text; encoded words of a charset that nobody knows are read as Latin-1 (RFC 2047)."""
    pieces: list[str] = []
    try:
        words = decode_header(value[:_MAX_KEPT])
    except HeaderParseError:
        # Broken ones are shown as they are.
        words = [(value[:_MAX_KEPT], None)]
    for piece, charset in words:
        if isinstance(piece, str):
            pieces.append(piece)
            continue
        try:
            pieces.append(piece.decode(charset or "utf-8", "replace"))
        except (LookupError, ValueError):
            pieces.append(piece.decode("latin-1"))
    return " ".join("".join(pieces).split())


def harmless_name(name: str) -> str:
    """Return a file's name for people to read: no folder, no control, no sign that turns the direction of writing."""
    last = re.split(r"[/\\]", name)[-1]
    cleaned = " ".join(_UNSAFE_IN_NAME.sub(" ", last).split()).lstrip(".")
    return cleaned[:_MAX_NAME]

"""Reads delivery reports (RFC 3464) and disposition reports (RFC 8098) from mails.

Many mail servers write reports as text for people; `mailslot_plugins.intake.bounce` parses those.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from mailslot_plugins.intake.bounce import most_specific_status, parse_text_report
from mailslot_plugins.intake.charsets import decode
from mailslot_plugins.intake.entity import read_header
from mailslot_plugins.intake.machine_mail import looks_like_report, machine_reason
from mailslot_plugins.intake.report import TRACE_FIELD, Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mailslot_plugins.intake.entity import Entity

_MAX_GROUPS: Final = 100
_MAX_FIELDS: Final = 50
_MAX_VALUE: Final = 4000
_MAX_OCTETS: Final = 100_000
_MAX_IDENTIFIERS: Final = 50
_MAX_TRACES: Final = 10
_MAX_TRACE: Final = 100
_IDENTIFIER: Final = re.compile(rb"<[!-;=?-~]{1,250}>")
_WRITTEN_IDENTIFIER: Final = re.compile(rb"message-id\W{1,20}(<[!-;=?-~]{1,250}>)", re.IGNORECASE)
_BLANK: Final = re.compile(rb"\n[ \t\r]*\n")
_TEXTS: Final = ("text/", "message/", "multipart/")
_KINDS: Final[Mapping[str, Literal["delivery", "disposition"]]] = {
    "message/delivery-status": "delivery",
    "message/global-delivery-status": "delivery",
    "message/disposition-notification": "disposition",
    "message/global-disposition-notification": "disposition",
}
_ACTIONS: Final[Mapping[str, str]] = {"5": "failed", "4": "delayed", "2": "delivered"}


def read_report(root: Entity, subject: str, text: str, senders: Sequence[str]) -> Report | None:
    """Return the report in a mail; None if it is not a report or is not understood.

    A report that a person forwards is not a report: nested mails are ignored.

    Args:
        root: the mail.
        subject: its subject, decoded.
        text: its text.
        senders: the addresses in its From.
    """
    fields = [(name, decode(value)) for name, value in root.fields]
    kinds = {part.content_type for part in _parts(root) if not part.children}
    structured = not kinds.isdisjoint(_KINDS) and (
        root.content_type == "multipart/report" or bool(machine_reason(fields, senders))
    )
    has_documents = any(not kind.startswith(_TEXTS) for kind in kinds)
    is_text_report = (
        looks_like_report(fields, senders, subject, text, has_documents=has_documents)
        # A complaint is about a mail that was delivered (RFC 5965).
        and "message/feedback-report" not in kinds
    )
    if not structured and not is_text_report:
        return None
    identifiers = tuple(_identifiers(root, text))
    returned = [dict(reversed(fields)) for fields in _returned_headers(root, text)]
    traces = tuple(_traces(returned))
    text_details = parse_text_report(_text_before_returned(text), root.fields, returned)
    for part in _parts(root):
        kind = _KINDS.get(part.content_type)
        groups = tuple(_groups(part)) if kind is not None else ()
        if kind == "disposition" and groups:
            return Report(kind, groups, identifiers, traces)
        if kind == "delivery" and any(_is_recipient_group(group) for group in groups):
            detailed = tuple(_with_text_details(group, text_details) for group in groups)
            return Report(kind, detailed, identifiers, traces)
    return Report("delivery", tuple(text_details), identifiers, traces) if text_details and is_text_report else None


def is_complaint(root: Entity) -> bool:
    """Return whether a mail is a complaint in Microsoft's form: the original mail with an additional field."""
    return any(
        part.is_message() and part.children and part.children[0].value("x-hmxmroriginalrecipient") is not None
        for part in root.children[:2]
    )


def _with_text_details(group: Mapping[str, str], text_details: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """Add the status and diagnostic from the text to a group that has only a generic status."""
    status = group.get("status", "")
    if "diagnostic-code" in group or not status.endswith(".0.0"):
        return group
    address = group.get("final-recipient", "").rpartition(";")[2].strip().casefold()
    for each in text_details:
        if each["final-recipient"].rpartition(";")[2].strip().casefold() == address and each["status"][0] == status[0]:
            return {**group, "status": each["status"], "diagnostic-code": each["diagnostic-code"]}
    return group


def _parts(root: Entity) -> Iterator[Entity]:
    pending = [root]
    while pending:
        entity = pending.pop()
        yield entity
        if not entity.is_message():
            pending += reversed(entity.children)


def _groups(part: Entity) -> Iterator[dict[str, str]]:
    own_text = part.decoded()[:_MAX_OCTETS].strip(b"\r\n")
    for block in _BLANK.split(own_text)[:_MAX_GROUPS]:
        fields, _ = read_header(block.lstrip(b"\r\n"))
        # The first field of a name counts.
        group = {name: " ".join(decode(value)[:_MAX_VALUE].split()) for name, value in reversed(fields[:_MAX_FIELDS])}
        if group:
            yield _complete(group)


def _complete(group: dict[str, str]) -> dict[str, str]:
    """Return a group with its action, and with the more specific status of its diagnostic code."""
    if "status" not in group and "action" not in group and "diagnostic-code" not in group:
        return group
    if not _is_recipient_group(group):
        return group
    group["status"] = most_specific_status(group.get("status", ""), group.get("diagnostic-code", ""))
    if "action" not in group:
        group["action"] = _ACTIONS.get(group["status"][:1], "")
    return group


def _is_recipient_group(group: Mapping[str, str]) -> bool:
    return any(name in group for name in ("final-recipient", "original-recipient", "action", "x-actual-recipient"))


def _traces(returned_headers: Sequence[Mapping[str, str]]) -> list[str]:
    found = [fields.get(TRACE_FIELD.lower(), "").strip() for fields in returned_headers]
    return [value for value in dict.fromkeys(found) if 0 < len(value) <= _MAX_TRACE][:_MAX_TRACES]


def _returned_headers(root: Entity, text: str) -> Iterator[list[tuple[str, str]]]:
    """Return the headers of the returned mails, in parts or in the text."""
    for part in _parts(root):
        fields: list[tuple[str, bytes]] = []
        if part.is_message() and part.children:
            fields = part.children[0].fields
        elif part.content_type in {"text/rfc822-headers", "message/global-headers", "text/rfc822"}:
            fields, _ = read_header(part.decoded()[:_MAX_OCTETS].lstrip(b"\r\n"))
        if fields:
            yield [(name, decode(value)[:_MAX_VALUE]) for name, value in fields]
    at = _find_returned(text)
    if at is not None:
        fields, _ = read_header(text[at:][:_MAX_OCTETS].lstrip().encode("utf-8", "replace"))
        yield [(name, decode(value)[:_MAX_VALUE]) for name, value in fields]


_RETURNED_MARK: Final = re.compile(
    r"^[-=_* >|]*(?:"
    r"below this line is a copy|this is a copy of (?:the|your) message|original message|the original message|"
    r"returned message|message header|original (?:mail|e-?mail)|below is a copy of|unsent message|"
    r"your (?:original )?message (?:follows|begins|reads|header)|start of returned|included is a copy|"
    r"message text follows|the (?:header|text) of (?:the|your|this)|headers? of (?:the )?(?:original|message)|"
    r"copy of (?:the )?(?:original|message)|the following is|ursprüngliche nachricht|message d'origine|"
    r"received message|rejected message|the first \d+ lines|transcript of message|forwarded message"
    r")\b.*$",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER_LINES: Final = re.compile(
    r"^(?:received|return-path|x-[\w-]+|dkim-signature|message-id|mime-version|delivered-to|from|to|subject|date):"
    r"[^\n]*\n(?:[ \t]+[^\n]*\n)*(?:[\w-]+:[^\n]*\n(?:[ \t]+[^\n]*\n)*){2}",
    re.IGNORECASE | re.MULTILINE,
)


def _find_returned(text: str) -> int | None:
    """Return the position of the returned mail's header in a text; None if there is none."""
    found = _HEADER_LINES.search(text[:_MAX_OCTETS])
    return None if found is None else found.start()


def _text_before_returned(text: str) -> str:
    """Return a report's own text."""
    text = text[:_MAX_OCTETS]
    at = _find_returned(text)
    own_text = text if at is None else text[:at]
    mark = next((found for found in _RETURNED_MARK.finditer(own_text) if own_text[: found.start()].strip()), None)
    if mark is not None and at is None:
        own_text = own_text[: mark.start()]
    return own_text


def _identifiers(root: Entity, text: str) -> list[str]:
    found: dict[bytes, None] = {}
    own = set(_IDENTIFIER.findall(root.value("message-id") or b""))
    pending = [root]
    texts: list[bytes] = []
    while pending:
        entity = pending.pop()
        if entity is not root:
            found.update(dict.fromkeys(_IDENTIFIER.findall(entity.value("message-id") or b"")[:1]))
        if not entity.children and (entity.content_type.startswith(("text/", "message/"))):
            texts.append(entity.decoded()[:_MAX_OCTETS])
        pending += reversed(entity.children)
    texts.append(text[:_MAX_OCTETS].encode("utf-8", "replace"))
    for text_octets in texts:
        found.update(dict.fromkeys(_WRITTEN_IDENTIFIER.findall(text_octets)))
    for name in ("in-reply-to", "references"):
        found.update(dict.fromkeys(_IDENTIFIER.findall(root.value(name) or b"")))
    for text_octets in texts:
        found.update(dict.fromkeys(each for each in _IDENTIFIER.findall(text_octets) if b"@" in each))
    return [each.decode("ascii") for each in found if each not in own][:_MAX_IDENTIFIERS]

"""Reports made out in mails: of delivery (RFC 3464), and of what the recipient did with it (RFC 8098).

Many mail servers write theirs as text for people; of those `mailslot_plugins.intake.bounce` makes out the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from mailslot_plugins.intake.automatic import looks_like_report, why_of_machine
from mailslot_plugins.intake.bounce import better_status, text_groups
from mailslot_plugins.intake.charsets import decode
from mailslot_plugins.intake.entity import read_header
from mailslot_plugins.intake.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mailslot_plugins.intake.entity import Entity

_MAX_GROUPS: Final = 100
_MAX_FIELDS: Final = 50
_MAX_VALUE: Final = 4000
_MAX_SAID: Final = 100_000
_MAX_IDENTIFIERS: Final = 50
_IDENTIFIER: Final = re.compile(rb"<[!-;=?-~]{1,250}>")
_WRITTEN: Final = re.compile(rb"message-id\W{1,20}(<[!-;=?-~]{1,250}>)", re.IGNORECASE)
_BLANK: Final = re.compile(rb"\n[ \t\r]*\n")
_TEXTS: Final = ("text/", "message/", "multipart/")
_KINDS: Final[Mapping[str, Literal["delivery", "disposition"]]] = {
    "message/delivery-status": "delivery",
    "message/global-delivery-status": "delivery",
    "message/disposition-notification": "disposition",
    "message/global-disposition-notification": "disposition",
}
_ACTIONS: Final[Mapping[str, str]] = {"5": "failed", "4": "delayed", "2": "delivered"}


def report_of(root: Entity, subject: str, text: str, senders: Sequence[str]) -> Report | None:
    """Return what a mail reports; None where it is no report that is understood.

    A report that a person forwards is a person's mail: what stands in a mail within the mail counts for nothing.

    Args:
        root: the mail.
        subject: its subject, decoded.
        text: its text.
        senders: the addresses in its From.
    """
    fields = [(name, decode(value)) for name, value in root.fields]
    kinds = {part.content_type for part in _parts(root) if not part.children}
    structured = not kinds.isdisjoint(_KINDS) and (
        root.content_type == "multipart/report" or bool(why_of_machine(fields, senders))
    )
    documents = any(not kind.startswith(_TEXTS) for kind in kinds)
    told_in_text = (
        looks_like_report(fields, senders, subject, text, documents=documents)
        # A complaint tells of a mail that was delivered (RFC 5965).
        and "message/feedback-report" not in kinds
    )
    if not structured and not told_in_text:
        return None
    identifiers = tuple(_identifiers(root, text))
    returned = [dict(reversed(fields)) for fields in _returned(root, text)]
    told = text_groups(_text_before_returned(text), root.fields, returned)
    for part in _parts(root):
        kind = _KINDS.get(part.content_type)
        groups = tuple(_groups(part)) if kind is not None else ()
        if kind == "disposition" and groups:
            return Report(kind, groups, identifiers)
        if kind == "delivery" and any(_is_of_recipient(group) for group in groups):
            return Report(kind, tuple(_with_words(group, told) for group in groups), identifiers)
    return Report("delivery", tuple(told), identifiers) if told and told_in_text else None


def is_complaint(root: Entity) -> bool:
    """Whether a mail is a complaint in Microsoft's own form: the mail that it is about, with a field more."""
    return any(
        part.is_message() and part.children and part.children[0].value("x-hmxmroriginalrecipient") is not None
        for part in root.children[:2]
    )


def _with_words(group: Mapping[str, str], told: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """Return a group with the status and the words that the text has for its recipient, where it has none itself."""
    status = group.get("status", "")
    if "diagnostic-code" in group or not status.endswith(".0.0"):
        return group
    address = group.get("final-recipient", "").rpartition(";")[2].strip().casefold()
    for each in told:
        if each["final-recipient"].rpartition(";")[2].strip().casefold() == address and each["status"][0] == status[0]:
            return {**group, "status": each["status"], "diagnostic-code": each["diagnostic-code"]}
    return group


def _parts(root: Entity) -> Iterator[Entity]:
    waiting = [root]
    while waiting:
        entity = waiting.pop()
        yield entity
        if not entity.is_message():
            waiting += reversed(entity.children)


def _groups(part: Entity) -> Iterator[dict[str, str]]:
    said = part.decoded()[:_MAX_SAID].strip(b"\r\n")
    for block in _BLANK.split(said)[:_MAX_GROUPS]:
        fields, _ = read_header(block.lstrip(b"\r\n"))
        # The first one of a name counts.
        group = {name: " ".join(decode(value)[:_MAX_VALUE].split()) for name, value in reversed(fields[:_MAX_FIELDS])}
        if group:
            yield _completed(group)


def _completed(group: dict[str, str]) -> dict[str, str]:
    """Return a group with its action, and with the status that its diagnostic code tells better."""
    if "status" not in group and "action" not in group and "diagnostic-code" not in group:
        return group
    if not _is_of_recipient(group):
        return group
    group["status"] = better_status(group.get("status", ""), group.get("diagnostic-code", ""))
    if "action" not in group:
        group["action"] = _ACTIONS.get(group["status"][:1], "")
    return group


def _is_of_recipient(group: Mapping[str, str]) -> bool:
    return any(name in group for name in ("final-recipient", "original-recipient", "action", "x-actual-recipient"))


def _returned(root: Entity, text: str) -> Iterator[list[tuple[str, str]]]:
    """Return the headers of the mails that it brings back, wherever they stand."""
    for part in _parts(root):
        fields: list[tuple[str, bytes]] = []
        if part.is_message() and part.children:
            fields = part.children[0].fields
        elif part.content_type in {"text/rfc822-headers", "message/global-headers", "text/rfc822"}:
            fields, _ = read_header(part.decoded()[:_MAX_SAID].lstrip(b"\r\n"))
        if fields:
            yield [(name, decode(value)[:_MAX_VALUE]) for name, value in fields]
    at = _start_of_returned(text)
    if at is not None:
        fields, _ = read_header(text[at:][:_MAX_SAID].lstrip().encode("utf-8", "replace"))
        yield [(name, decode(value)[:_MAX_VALUE]) for name, value in fields]


_MARK: Final = re.compile(
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


def _start_of_returned(text: str) -> int | None:
    """Return where in a text the header of the mail that came back begins; None where it does not."""
    found = _HEADER_LINES.search(text[:_MAX_SAID])
    return None if found is None else found.start()


def _text_before_returned(text: str) -> str:
    """Return what a report says itself."""
    text = text[:_MAX_SAID]
    at = _start_of_returned(text)
    said = text if at is None else text[:at]
    mark = next((found for found in _MARK.finditer(said) if said[: found.start()].strip()), None)
    if mark is not None and at is None:
        said = said[: mark.start()]
    return said


def _identifiers(root: Entity, text: str) -> list[str]:
    found: dict[bytes, None] = {}
    own = set(_IDENTIFIER.findall(root.value("message-id") or b""))
    waiting = [root]
    pieces: list[bytes] = []
    while waiting:
        entity = waiting.pop()
        if entity is not root:
            found.update(dict.fromkeys(_IDENTIFIER.findall(entity.value("message-id") or b"")[:1]))
        if not entity.children and (entity.content_type.startswith(("text/", "message/"))):
            pieces.append(entity.decoded()[:_MAX_SAID])
        waiting += reversed(entity.children)
    pieces.append(text[:_MAX_SAID].encode("utf-8", "replace"))
    for piece in pieces:
        found.update(dict.fromkeys(_WRITTEN.findall(piece)))
    for name in ("in-reply-to", "references"):
        found.update(dict.fromkeys(_IDENTIFIER.findall(root.value(name) or b"")))
    for piece in pieces:
        found.update(dict.fromkeys(each for each in _IDENTIFIER.findall(piece) if b"@" in each))
    return [each.decode("ascii") for each in found if each not in own][:_MAX_IDENTIFIERS]

"""Extracts recipients and statuses from delivery reports that mail servers write as text for people.

There is no standard for them. Nearly all name each recipient at the beginning of a line or behind a word like «to»,
and quote the other server's reply below (RFC 5321, RFC 3463).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_RECIPIENTS: Final = 50
_MAX_LINES: Final = 400
_MAX_DIAGNOSTIC: Final = 300

_ADDRESS: Final = re.compile(r"(?<![\w.+@=-])[\w!#$%&'*+/=?^`{|}~.-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,252}[A-Za-z0-9]")
_LINE_START: Final = re.compile(r"[\s>*-]{0,40}(?:[\"'<(\[]|mailto:|smtp;|rfc822;|addressee:)*\s*$", re.IGNORECASE)
_AFTER_KEYWORD: Final = re.compile(
    r"(?:\bto|\bfor|recipients?|address(?:es|ee)?|users?|mailbox|account|empf[äa]nger|destinataire|rcpt to|"
    r"failed|final-recipient:? *rfc822|original-recipient:? *rfc822|deliver(?:ed|y)?|unknown|mail|local)"
    r"[\s:;=<>\"'(\[]{1,12}$",
    re.IGNORECASE,
)
_STATUS: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\d|\.\d)")
_CODE: Final = re.compile(r"(?<![\d.])([45][0-5]\d)(?=[\s:;,#)-])")
_CERTAIN_CODE: Final = re.compile(
    r"(?:said|reply|response|answer|error|status|code|smtp;?|rcpt to[^\n]{0,80}|"
    r"[:(<>])\W{0,8}([45][0-5]\d)(?=[\s:;,#)-])",
    re.IGNORECASE,
)
_DELAYED: Final = re.compile(
    r"(?:has been|is|was) delayed|not yet been delivered|still (?:being )?(?:re)?tr(?:y|ied)|"
    r"(?:will|shall) (?:continue|keep|be|re|attempt|try)[^.\n]{0,40}(?:tr(?:y|ied)|deliver)|will (?:re)?try|"
    r"could not send message for past|delivery (?:has been )?delayed|temporarily (?:deferred|delayed)|"
    r"(?:do|does) not need to (?:re|do)|no action is required|verz[öo]gert|message is delayed|will be retried",
    re.IGNORECASE,
)
_FINAL: Final = re.compile(
    r"giv(?:e|en|ing) up|gave up|fatal error|permanent(?:ly)? (?:fail|error)|failed permanently|"
    r"permanent fail|was(?: not|n't) able to deliver|could not be delivered|has been returned|"
    r"not be(?:en)? (?:able to be )?delivered within|undeliverable|too long|expired|timed out|will not be retried|"
    r"not try again|no further|cannot be delivered",
    re.IGNORECASE,
)
_DELAYED_SUBJECT: Final = re.compile(r"delay|warning|still being|\(delay\)|verz[öo]ger|temporar", re.IGNORECASE)
_NOT_RECIPIENTS: Final = re.compile(r"(?:mailer-daemon|postmaster|abuse|support|helpdesk)@.*", re.IGNORECASE)
_DELIVERED: Final = re.compile(
    r"success(?:fully)? (?:delivered|relayed)|delivered successfully|\bwas delivered\b", re.IGNORECASE
)


def parse_text_report(
    text: str, fields: Sequence[tuple[str, bytes]], returned_headers: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """Return groups of fields as in an RFC 3464 report; none if no recipient is found.

    Args:
        text: the report's text, without the returned mail.
        fields: the report's header fields.
        returned_headers: the headers of the returned mails.
    """
    head = {name: value.decode("utf-8", "replace") for name, value in reversed(fields)}
    not_recipients = _other_addresses(head, returned_headers)
    lines = [line[:1000] for line in text.splitlines()[:_MAX_LINES]]
    failed_recipients = _addresses(head.get("x-failed-recipients", ""))
    found = _recipients(lines, not_recipients, failed_recipients) or _from_returned(returned_headers)
    if not found:
        # The recipient may be the sender.
        found = _recipients(lines, set(_addresses(head.get("from", ""))), failed_recipients)
    delayed = bool(_DELAYED_SUBJECT.search(head.get("subject", "")) or _DELAYED.search(text)) and not _FINAL.search(
        text
    )
    overall_status = _status(text)
    groups: list[dict[str, str]] = []
    for number, (address, at) in enumerate(found):
        # The lines up to the next recipient are about this one.
        end = found[number + 1][1] if number + 1 < len(found) else len(lines)
        words = "\n".join(lines[at:end]) if at >= 0 else text
        status = _status(words) or overall_status
        action = "delayed" if delayed else "failed"
        if action == "failed" and status.startswith("2"):
            action = "delivered" if _DELIVERED.search(text) else action
        groups.append(
            {
                "final-recipient": f"rfc822; {address}",
                "action": action,
                "status": status or ("4.0.0" if delayed else "5.0.0"),
                "diagnostic-code": f"smtp; {' '.join(words.split())[:_MAX_DIAGNOSTIC]}",
            }
        )
    return groups


def most_specific_status(status: str, words: str) -> str:
    """Return the enhanced status code in the other server's reply if it is more specific than the given one."""
    given = _STATUS.search(status)
    in_words = _STATUS.search(words)
    given_code = given[1] if given else ""
    if in_words and (not given_code or (given_code.endswith(".0.0") and in_words[1][0] == given_code[0])):
        return in_words[1]
    if given_code:
        return given_code
    code = _CERTAIN_CODE.search(f" {words}") or _CODE.search(f" {words}")
    return f"{code[1][0]}.0.0" if code else ""


def _status(words: str) -> str:
    found = [each[1] for each in _STATUS.finditer(words)]
    best = next((each for each in found if not each.endswith(".0.0")), next(iter(found), ""))
    if best:
        return best
    code = _CERTAIN_CODE.search(words) or _CODE.search(words)
    return f"{code[1][0]}.0.0" if code else ""


def _other_addresses(head: Mapping[str, str], returned_headers: Sequence[Mapping[str, str]]) -> set[str]:
    """Return addresses that are not recipients: those of the sender and of the reporting server."""
    values = [head.get(name, "") for name in ("to", "from", "reply-to", "x-original-to", "delivered-to", "return-path")]
    for each in returned_headers:
        values += [each.get(name, "") for name in ("from", "return-path", "reply-to", "sender", "errors-to")]
        values.append(each.get("message-id", ""))
    return {address.casefold() for value in values for address in _addresses(value)}


def _recipients(
    lines: Sequence[str], not_recipients: set[str], failed_recipients: Sequence[str]
) -> list[tuple[str, int]]:
    """Return the recipients, each with the first line that names it, or -1 if no line does."""
    at_line_start: dict[str, tuple[str, int]] = {}
    after_keyword: dict[str, tuple[str, int]] = {}
    elsewhere: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines):
        for match in _ADDRESS.finditer(line):
            address, before = match[0].strip("'.`"), line[: match.start()]
            plain = address.casefold()
            if plain in not_recipients or _NOT_RECIPIENTS.fullmatch(plain) or "message-id" in before.casefold():
                continue
            group = (
                at_line_start
                if _LINE_START.fullmatch(before)
                else after_keyword
                if _AFTER_KEYWORD.search(before)
                else elsewhere
            )
            group.setdefault(plain, (address, number))
    if failed_recipients:
        known = {**elsewhere, **after_keyword, **at_line_start}
        found = [known.get(address.casefold(), (address, -1)) for address in failed_recipients]
    else:
        # Only the first address is certain to be a recipient's.
        found = list(at_line_start.values()) or list(after_keyword.values())[:1] or list(elsewhere.values())[:1]
    return sorted(found, key=lambda each: each[1])[:_MAX_RECIPIENTS]


def _from_returned(returned_headers: Sequence[Mapping[str, str]]) -> list[tuple[str, int]]:
    for each in returned_headers:
        for name in ("x-original-to", "delivered-to", "to"):
            addresses = _addresses(each.get(name, ""))
            if addresses:
                return [(address, -1) for address in addresses[:_MAX_RECIPIENTS]]
    return []


def _addresses(value: str) -> list[str]:
    return list(dict.fromkeys(match[0] for match in _ADDRESS.finditer(value[:4000])))

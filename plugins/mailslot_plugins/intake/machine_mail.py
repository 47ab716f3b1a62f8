"""Recognises mail that machines write, by its header, subject and text.

It works on plain values, so that the confined process and the pipelines share it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DAEMON_ADDRESS: Final = re.compile(
    r"(?:mailer?[-_.]?daemon|mdaemon|mail-?system|smtp-?daemon|bounce-?daemon)(?:@.*)?", re.IGNORECASE
)
_POSTMASTER_ADDRESS: Final = re.compile(
    r"(?:post_?master|mail-?admin(?:istrator)?|no-?reply|do-?not-?reply|bounces?|mta|"
    r"(?:e?-?mail-?)?gateway|hostmaster|listserv)(?:[+.-][^@]*)?@.*",
    re.IGNORECASE,
)
REPORT_FIELDS: Final = frozenset({"x-failed-recipients"})
"""Fields that only reports have, of Exim and Google."""

LIST_FIELDS: Final = frozenset({"x-mlserver"})
"""Fields of mailing list software (fml) whose mails have no other sign of a machine."""

ABSENCE_SUBJECT: Final = re.compile(
    r"\s*(?:(?:auto(?:matic)?[- ]?(?:reply|response|antwort)|automatische antwort|abwesenheits\S*|"
    r"out of (?:the )?office|r[ée]ponse automatique|respuesta autom[áa]tica|risposta automatica)\b|auto: re:)",
    re.IGNORECASE,
)
"""How subjects of absence replies begin."""

_BULK: Final = frozenset({"bulk", "list", "junk", "auto_reply"})
_REPORT_SUBJECT: Final = re.compile(
    r"undeliver|delivery (?:status )?(?:notification|failure|failed|report|problem|error)|(?:message|mail) delivery|"
    r"failure notice|returned (?:e-?)?mail|mail (?:could not|failure|status|system)|non.?delivery|not delivered|"
    r"delayed|warning: |delivery (?:has been )?(?:delayed|failed)|unzustellbar|nicht zustellbar|non remis|"
    r"non distribuable|no entregado|mancata consegna|mail error|could not (?:be )?deliver|bounce|rejected|"
    r"message status|returned to sender|cannot (?:be )?deliver|failed mail|fail(?:ed|ure)|undelivered|error sending|"
    r"\u30a8\u30e9\u30fc|\u9001\u4fe1\u3067\u304d|\u914d\u4fe1\u4e0d|"
    r"\u4e0d\u9054|\u672a\u9054|\u9000\u4fe1|\u65e0\u6cd5\u6295\u9012|\u9000\u56de",
    re.IGNORECASE,
)
_REPORT_TEXT: Final = re.compile(
    r"(?:could ?n[o']t|cannot|can't|was ?n[o']t|not able to|unable to|failed to|has not been|were not|did not|"
    r"not be|undeliver|delivery (?:has )?fail|delivery to the following|permanent(?:ly)? (?:error|fail)|rejected|"
    r"has been delayed|have failed|was returned|user unknown|unknown user|mailbox (?:is )?full|"
    r"does(?: not|n't) (?:exist|have)|no such user|over quota|nicht zugestellt|n'a pas pu|no se pudo|"
    r"invalid (?:final|user|recipient|address)|rcpt to|\u3067\u304d\u307e\u305b\u3093|\u5931\u8d25|\u65e0\u6cd5)",
    re.IGNORECASE,
)
_CODE: Final = re.compile(r"(?<![\d.])[45]\.\d\.\d{1,3}(?![\d.])|(?<![\d.])[45][0-5]\d[ -]")


def machine_reason(fields: Iterable[tuple[str, str]], senders: Sequence[str]) -> str:
    """Return why a mail was written by a machine, by its header; empty if a person may have written it.

    Args:
        fields: the header fields, names in lower case.
        senders: the addresses in its From.
    """
    return next(_machine_reasons(fields, senders), "")


def looks_like_report(
    fields: Sequence[tuple[str, str]], senders: Sequence[str], subject: str, text: str, *, has_documents: bool
) -> bool:
    """Return whether a mail may be a report that a mail server wrote as text.

    Neither a mail server's name nor the words of a report suffice: postmasters are people, too, people write about
    failed mails, and programs send absence replies.

    Args:
        fields: the header fields, names in lower case.
        senders: the addresses in its From.
        subject: its subject, decoded.
        text: its text.
        has_documents: whether it has attachments other than texts and mails.
    """
    by_name = dict(reversed(fields))
    has_report_subject = _REPORT_SUBJECT.search(subject) is not None
    if not has_report_subject and (
        _first_word(by_name.get("auto-submitted", "")) == "auto-replied" or ABSENCE_SUBJECT.match(subject)
    ):
        return False
    head = text[:4000]
    evidence = has_report_subject + (_REPORT_TEXT.search(head) is not None) + (_CODE.search(head) is not None)
    paths = [value.strip(" <>") for name, value in fields if name == "return-path"]
    if (
        any(_DAEMON_ADDRESS.fullmatch(each) for each in (*senders, *paths))
        or _is_daemon(by_name.get("from", ""))
        or any(name in REPORT_FIELDS for name in by_name)
        or _first_word(by_name.get("content-type", "")) == "multipart/report"
    ):
        return evidence >= 1
    from_postmaster = any(_POSTMASTER_ADDRESS.fullmatch(each) for each in (*senders, *paths))
    if machine_reason(fields, senders):
        return evidence >= (1 if from_postmaster or has_report_subject else 2)
    return evidence >= 2 and from_postmaster and not has_documents


def _machine_reasons(fields: Iterable[tuple[str, str]], senders: Sequence[str]) -> Iterator[str]:
    for name, value in fields:
        keyword = _first_word(value)
        if name == "return-path" and not value.strip().removeprefix("<").removesuffix(">").strip():
            yield "it has the null sender"
        # The keyword may be followed by parameters and comments (RFC 3834 section 5).
        elif name == "auto-submitted" and keyword != "no":
            yield "it was sent automatically"
        elif name == "precedence" and keyword in _BULK:
            yield "it is bulk mail"
        elif name in REPORT_FIELDS or (name == "content-type" and keyword == "multipart/report"):
            yield "it is a report"
        elif name in LIST_FIELDS:
            yield "it is from a mailing list"
        elif _is_daemon(value) and (name == "return-path" or (name == "from" and not any(senders))):
            yield "it is from a mail server"
    if any(_DAEMON_ADDRESS.fullmatch(sender) for sender in senders):
        yield "it is from a mail server"


def _is_daemon(value: str) -> bool:
    """Return whether a field without a complete address is a mail server's: ``Mailer-Daemon``, or an empty address."""
    name, bracket, rest = value[:500].partition("<")
    address = rest.partition(">")[0].strip() if bracket else name.strip()
    return _DAEMON_ADDRESS.match(address) is not None or (bool(bracket) and not address)


def _first_word(value: str) -> str:
    return re.split(r"[\s;(,]", value.strip(), maxsplit=1)[0].casefold()

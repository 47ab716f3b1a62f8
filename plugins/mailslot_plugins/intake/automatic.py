"""Mails that machines write about mails, by their header; and what a person's mail has in common with them.

Known by fields, names and octets alone, so that the process of its own and the pipelines judge alike.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DAEMONS: Final = re.compile(
    r"(?:mailer?[-_.]?daemon|mdaemon|mail-?system|smtp-?daemon|bounce-?daemon)(?:@.*)?", re.IGNORECASE
)
_POSTMASTERS: Final = re.compile(
    r"(?:post_?master|mail-?admin(?:istrator)?|no-?reply|do-?not-?reply|bounces?|mta|"
    r"(?:e?-?mail-?)?gateway|hostmaster|listserv)(?:[+.-][^@]*)?@.*",
    re.IGNORECASE,
)
REPORT_FIELDS: Final = frozenset({"x-failed-recipients"})
"""Fields that only reports have: Exim's and Google's."""

LIST_FIELDS: Final = frozenset({"x-mlserver"})
"""Fields of programs for mailing lists (fml) that write to owners and members without any other sign of a machine."""

ABSENT: Final = re.compile(
    r"\s*(?:(?:auto(?:matic)?[- ]?(?:reply|response|antwort)|automatische antwort|abwesenheits\S*|"
    r"out of (?:the )?office|r[ée]ponse automatique|respuesta autom[áa]tica|risposta automatica)\b|auto: re:)",
    re.IGNORECASE,
)
"""How the subjects of answers begin that programs write for people who are away."""

_BULK: Final = frozenset({"bulk", "list", "junk", "auto_reply"})
_FAILED_SUBJECT: Final = re.compile(
    r"undeliver|delivery (?:status )?(?:notification|failure|failed|report|problem|error)|(?:message|mail) delivery|"
    r"failure notice|returned (?:e-?)?mail|mail (?:could not|failure|status|system)|non.?delivery|not delivered|"
    r"delayed|warning: |delivery (?:has been )?(?:delayed|failed)|unzustellbar|nicht zustellbar|non remis|"
    r"non distribuable|no entregado|mancata consegna|mail error|could not (?:be )?deliver|bounce|rejected|"
    r"message status|returned to sender|cannot (?:be )?deliver|failed mail|fail(?:ed|ure)|undelivered|error sending|"
    r"\u30a8\u30e9\u30fc|\u9001\u4fe1\u3067\u304d|\u914d\u4fe1\u4e0d|"
    r"\u4e0d\u9054|\u672a\u9054|\u9000\u4fe1|\u65e0\u6cd5\u6295\u9012|\u9000\u56de",
    re.IGNORECASE,
)
_FAILED_TEXT: Final = re.compile(
    r"(?:could ?n[o']t|cannot|can't|was ?n[o']t|not able to|unable to|failed to|has not been|were not|did not|"
    r"not be|undeliver|delivery (?:has )?fail|delivery to the following|permanent(?:ly)? (?:error|fail)|rejected|"
    r"has been delayed|have failed|was returned|user unknown|unknown user|mailbox (?:is )?full|"
    r"does(?: not|n't) (?:exist|have)|no such user|over quota|nicht zugestellt|n'a pas pu|no se pudo|"
    r"invalid (?:final|user|recipient|address)|rcpt to|\u3067\u304d\u307e\u305b\u3093|\u5931\u8d25|\u65e0\u6cd5)",
    re.IGNORECASE,
)
_CODE: Final = re.compile(r"(?<![\d.])[45]\.\d\.\d{1,3}(?![\d.])|(?<![\d.])[45][0-5]\d[ -]")


def why_of_machine(fields: Iterable[tuple[str, str]], senders: Sequence[str]) -> str:
    """Say why a mail is no person's, by its own header; empty where it may be.

    Args:
        fields: of its header, names in lower case.
        senders: the addresses in its From.
    """
    return next(_reasons(fields, senders), "")


def looks_like_report(
    fields: Sequence[tuple[str, str]], senders: Sequence[str], subject: str, text: str, *, documents: bool
) -> bool:
    """Whether a mail may be a report that a mail server has written as text.

    A mail server's name is not enough, and neither are a report's words: people are postmasters, too, and write of
    mails that failed; programs write of many things, and for people who are on holiday.

    Args:
        fields: of its header, names in lower case.
        senders: the addresses in its From.
        subject: its subject, decoded.
        text: its text.
        documents: whether anything is attached to it besides texts and mails.
    """
    by_name = dict(reversed(fields))
    said = _FAILED_SUBJECT.search(subject) is not None
    if not said and (_first_word(by_name.get("auto-submitted", "")) == "auto-replied" or ABSENT.match(subject)):
        return False
    head = text[:4000]
    signs = said + (_FAILED_TEXT.search(head) is not None) + (_CODE.search(head) is not None)
    paths = [value.strip(" <>") for name, value in fields if name == "return-path"]
    if (
        any(_DAEMONS.fullmatch(each) for each in (*senders, *paths))
        or _is_daemon(by_name.get("from", ""))
        or any(name in REPORT_FIELDS for name in by_name)
        or _first_word(by_name.get("content-type", "")) == "multipart/report"
    ):
        return signs >= 1
    named = any(_POSTMASTERS.fullmatch(each) for each in (*senders, *paths))
    if why_of_machine(fields, senders):
        return signs >= (1 if named or said else 2)
    return signs >= 2 and named and not documents


def _reasons(fields: Iterable[tuple[str, str]], senders: Sequence[str]) -> Iterator[str]:
    for name, value in fields:
        said = _first_word(value)
        if name == "return-path" and not value.strip().removeprefix("<").removesuffix(">").strip():
            yield "it has the null sender"
        # The keyword may be followed by parameters and comments (RFC 3834 section 5).
        elif name == "auto-submitted" and said != "no":
            yield "it was sent automatically"
        elif name == "precedence" and said in _BULK:
            yield "it is bulk mail"
        elif name in REPORT_FIELDS or (name == "content-type" and said == "multipart/report"):
            yield "it is a report"
        elif name in LIST_FIELDS:
            yield "it is from a mailing list"
        elif _is_daemon(value) and (name == "return-path" or (name == "from" and not any(senders))):
            yield "it is from a mail server"
    if any(_DAEMONS.fullmatch(sender) for sender in senders):
        yield "it is from a mail server"


def _is_daemon(value: str) -> bool:
    """Whether a field without a whole address is a mail server's: ``Mailer-Daemon``, or an empty address."""
    name, bracket, rest = value[:500].partition("<")
    address = rest.partition(">")[0].strip() if bracket else name.strip()
    return _DAEMONS.match(address) is not None or (bool(bracket) and not address)


def _first_word(value: str) -> str:
    return re.split(r"[\s;(,]", value.strip(), maxsplit=1)[0].casefold()

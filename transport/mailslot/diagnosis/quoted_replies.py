"""Finds mail servers' replies quoted in a copied text: a log, a client's message, or a program's trace."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_plus

from mailslot.causes.refusal import Presented, Refusal
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot.causes.refusal import Protocol
    from mailslot.errors import Stage

_CODE: Final = r"(?:4[235]\d|5[0-5]\d)"
"""SMTP's codes of refusals, without numbers that are ports or HTTP statuses."""
_NUMBERS: Final = r"[45]\.\d{1,3}\.\d{1,3}"

_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(r?\\?n|r|t)|([\"'/\\]))")
_URL_ENCODED: Final = re.compile(r"%[0-9A-Fa-f]{2}.*%[0-9A-Fa-f]{2}", re.DOTALL)
_TAG: Final = re.compile(r"</?(?:br|p|div|span|b|i|a|td|tr|li)(?:\s[^<>]*)?/?>", re.IGNORECASE)
_BESIDES: Final = re.compile(
    r"\bdsn=[45][\d.]+,? ?|[^\W\d]\w* ?\((?:SSL|TLS|SSL/TLS)\)[ \u00a0]?[:：] ?[^\W\d]+,?", re.IGNORECASE
)
"""Fields of logs and of Outlook's messages that are not part of a reply: ``dsn=4.3.5``, ``Secure(SSL): No``."""
_IN_PARENTHESES: Final = re.compile(rf"(?<=\w) ?\(({_CODE})\): ?")
_TUPLE: Final = re.compile(rf"\(({_CODE}), b?(?=['\"])")
_NAMED_CODE: Final = re.compile(
    rf"\b(MAIL|RCPT|DATA|AUTH\w*)(?: FROM| TO)?\W+(?:command )?failed\W+({_CODE})\b(?!\W*\w)"
)

_SMTP: Final = re.compile(
    rf"(?<![a-z\d.#])(?<!HTTP )(?<!HTTP/\d\.\d )(?<!port )(?<!port: )({_CODE})"
    rf"(?:[ :,'\"-]+#?({_NUMBERS}))?(?=[ \-:,'\"])"
    r"[ \-:,'\"]+(.*)",
    re.DOTALL,
)
_BEFORE_A_CODE: Final = re.compile(
    r"(?:^|[^\w\s]|\n|\b(?:error|err|code|fehler|erreur|errore?|reply|response|antwort|said|says|was|war|got|returned|status|smtp"
    r"|esmtp|server|login|message|E))[ \[('\"]*\Z",
    re.IGNORECASE,
)
_ENHANCED: Final = re.compile(rf"(?<![\d.])({_NUMBERS})(?![\d.])[ :]*(.*)", re.DOTALL)
_POP3: Final = re.compile(r"-ERR\b(?: \[([A-Z/-]+)\])? ?(.*)", re.DOTALL)
_POP3_IN_QUOTES: Final = re.compile(r"(['\"])-ERR\b(?: \[([A-Z/-]+)\])? ?(.*?)\1(?=[,;)\s]|$)", re.DOTALL)
"""A reply as quoted by Outlook, followed by its own fields."""
_POP3_RESPONDED: Final = re.compile(
    r"(?:Sending of (?:user ?name|password)|The (?:STAT|LIST|UIDL|RETR|DELE|TOP) command)\b.{0,160}?"
    r" responded: (?:\[([A-Z/-]+)\] )?(.*)",
    re.DOTALL,
)
"""A response as quoted by Thunderbird, without POP3's ``-ERR``."""
_IMAP: Final = re.compile(r"(?:\b(?:NO|BAD|BYE) |b['\"])\[([A-Z-]+)\] (.*)", re.DOTALL)
_CONTINUED: Final = re.compile(rf"\n?{_CODE}-(?:{_NUMBERS} )?")

_SIGN_IN: Final = re.compile(r"auth|sasl|log ?[io]n|sign ?in|password|credential", re.IGNORECASE)
_TOKEN: Final = re.compile(r"xoauth|oauthbearer|bearer|oauth ?2|access token", re.IGNORECASE)

_Place = tuple["Stage", str]

_SAID_AT: Final[tuple[tuple[re.Pattern[str], _Place], ...]] = (
    (
        re.compile(r"MAIL FROM|0x800CCC78|SMTPSender|SenderRefused|in reply to MAIL|MAIL (?:command )?failed"),
        ("envelope", "MAIL"),
    ),
    (re.compile(r"RCPT TO|0x800CCC79|Recipients?Refused|AddressFailed|RCPT (?:command )?failed"), ("envelope", "RCPT")),
    (
        re.compile(r"end of (?:DATA|data)|0x800CCC6F|DATA command|SMTPDataError|DATA failed|Message failed"),
        ("data", ""),
    ),
    (re.compile(r"refused to talk to me|initial (?:server greeting|connection)|SMTPConnectError"), ("greeting", "")),
    (re.compile(r"(?:reply to|connection with|after) STARTTLS|STARTTLS (?:command )?failed"), ("tls", "")),
)
"""Texts of logs and clients that name the refused command."""

_PLACES: Final[tuple[_Place, ...]] = (("envelope", "RCPT"), ("envelope", "MAIL"), ("data", ""), ("greeting", ""))
_POP3_PLACES: Final[tuple[tuple[Stage, Presented | None], ...]] = (
    ("sign_in", "password"),
    ("sign_in", "token"),
    ("transaction", None),
)
_POP3_GREETING: Final[tuple[tuple[Stage, Presented | None], ...]] = (("greeting", None),)
_GREETS: Final = re.compile(r"greeting|banner|welcome|on connect|after connect|refused to talk", re.IGNORECASE)


class QuotedReply(NamedTuple):
    """A reply that a text may quote.

    Attributes:
        words: the server's own text.
        known: the reply at the stages that the text shows, the most likely first.
        guessed: the reply at other possible stages.
        certain: whether it certainly is a reply, rather than some number with a text.
    """

    words: str
    known: tuple[Refusal, ...]
    guessed: tuple[Refusal, ...]
    certain: bool = True


def unwrapped(text: str) -> str:
    """Return a text without the escapes of JSON, Python, URLs and HTML with which programs quote a server's text."""
    if "&" in text:
        text = html.unescape(text)
    if _URL_ENCODED.search(text) and "=" in text:
        text = unquote_plus(text)
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    text = _IN_PARENTHESES.sub(r": \1 ", _BESIDES.sub("", _TAG.sub(" ", text)))
    return _NAMED_CODE.sub(r"\1 failed: \2 -", _TUPLE.sub(r"\1 ", text))


def quoted_replies(text: str) -> Iterator[QuotedReply]:
    """Yield the replies that an unwrapped text may quote, the most likely first."""
    places = _by_token_first(text, _POP3_PLACES) + (_POP3_GREETING if _GREETS.search(text) else ())
    for patterns, protocol in (((_POP3_IN_QUOTES, _POP3, _POP3_RESPONDED), "POP3"), ((_IMAP,), "IMAP")):
        if match := next(filter(None, (pattern.search(text) for pattern in patterns)), None):
            code, words = match.groups()[-2:]
            reply = Reply(None, code, words, positive=False)
            yield QuotedReply(
                words,
                tuple(
                    Refusal(protocol=_protocol(protocol), stage=stage, reply=reply, presented=presented)
                    for stage, presented in places
                ),
                (),
            )
    for reply, certain in _smtp_replies(text):
        yield QuotedReply(reply.text, *_over_smtp(reply, text), certain)


def possible_refusals(text: str) -> Iterator[Refusal]:
    """Yield the refusals that a text without a code may be, such as ``Your account has been disabled``."""
    places: tuple[tuple[Protocol, Stage, str, Presented | None], ...] = (
        ("SMTP", "sign_in", "", "password"),
        ("POP3", "sign_in", "", "password"),
        ("SMTP", "envelope", "RCPT", None),
        ("SMTP", "envelope", "MAIL", None),
        ("SMTP", "data", "", None),
    )
    for protocol, stage, verb, presented in places:
        reply = Reply(None, None, text, positive=False)
        yield Refusal(protocol=protocol, stage=stage, verb=verb, presented=presented, reply=reply)


def _over_smtp(reply: Reply, text: str) -> tuple[tuple[Refusal, ...], tuple[Refusal, ...]]:
    """Return a reply at the stages that the text shows, and at other possible stages."""
    named: list[_Place] = [place for pattern, place in _SAID_AT if pattern.search(text)]
    signs_in = _by_token_first(text, (("sign_in", "password"), ("sign_in", "token")))
    sign_in = tuple(
        Refusal(protocol="SMTP", stage=stage, reply=reply, presented=presented) for stage, presented in signs_in
    )
    at = {
        (stage, verb): Refusal(protocol="SMTP", stage=stage, reply=reply, verb=verb)
        for stage, verb in dict.fromkeys([*named, *_PLACES])
    }
    known = tuple(at.pop(place) for place in dict.fromkeys(named))
    guessed = tuple(at.values())
    if str(reply.code)[:2] == "53" and reply.code != 530:
        return (*sign_in, *known), guessed
    if known or reply.code == 530 or not _SIGN_IN.search(text):
        tls = (Refusal(protocol="SMTP", stage="tls", reply=reply),) if "STARTTLS" in text else ()
        return known, (*guessed, *tls, *sign_in)
    return sign_in, guessed


def _by_token_first(
    text: str, places: tuple[tuple[Stage, Presented | None], ...]
) -> tuple[tuple[Stage, Presented | None], ...]:
    """Return the possible stages of a text; those with a token come first if the text mentions one."""
    if not _TOKEN.search(text):
        return places
    return tuple(sorted(places, key=lambda place: place[1] != "token"))


def _smtp_replies(text: str) -> Iterator[tuple[Reply, bool]]:
    """Yield possible replies, and whether each certainly is one."""
    for match in _SMTP.finditer(text):
        reply = Reply(int(match[1]), match[2], _CONTINUED.sub(" ", match[3]).strip("'\" "), positive=False)
        yield reply, match[2] is not None or bool(_BEFORE_A_CODE.search(text, 0, match.start()))
    if quoted := _ENHANCED.search(text):
        yield Reply(450 if quoted[1].startswith("4") else 550, quoted[1], quoted[2], positive=False), True


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        letter = chr(int(match[1], 16))
        return letter if letter.isprintable() else " "
    return "\n" if match[2] else match[3]


def _protocol(name: str) -> Protocol:
    return "POP3" if name == "POP3" else "IMAP"

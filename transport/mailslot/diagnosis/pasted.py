"""Explains a text copied from a panel, a log or another client."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.causes.judge import judge
from mailslot.causes.maker_codes import find_maker_codes
from mailslot.causes.refusal import Refusal
from mailslot.causes.shown import find_shown
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.server_words import without_internals
from mailslot.oauth.resources import find_foreign_resource
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_error_table import error_table
from mailslot.oauth.token_errors import classify_error
from mailslot.wire.reply import Reply, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TEXT: Final = 20_000
"""Characters of the text that are searched."""

MAX_WORDS: Final = 160
"""Characters of the text that are quoted."""

_SMTP: Final = re.compile(r"(?<![\d.#:])([45]\d\d)(?:[ -]+#?([45]\.\d{1,3}\.\d{1,3}))?(?=[ \-:])[ \-:]+(.*)", re.DOTALL)
_ENHANCED: Final = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.])[ :]*(.*)", re.DOTALL)
_POP3: Final = re.compile(r"-ERR\b(?: \[([A-Z/-]+)\])? ?(.*)", re.DOTALL)
_IMAP: Final = re.compile(r"\b(?:NO|BAD|BYE) \[([A-Z-]+)\] (.*)", re.DOTALL)
_CONTINUED: Final = re.compile(r"\n?[45]\d\d-(?:[45]\.\d{1,3}\.\d{1,3} )?")
_AADSTS: Final = re.compile(r"\bAADSTS\d{5,8}\b")
_JSON: Final = re.compile(r"\{.*\}", re.DOTALL)
_SECRET: Final = re.compile(r"\b(?:Bearer|AUTH \w+|PASS) \S+|[A-Za-z0-9+/_.\-]{60,}={0,2}")
_POP3_STAGES: Final = (("sign_in", "password"), ("sign_in", "token"), ("transaction", None), ("greeting", None))
_SIGN_IN: Final = re.compile(r"auth|sasl|log ?in|sign ?in|password|credential", re.IGNORECASE)


def explain_pasted(text: str) -> Diagnosis | None:
    """Return the diagnosis of a copied text; None if nothing is known about it.

    A token service's error counts first, then a quoted reply of a mail server, then a maker's code, then the words of
    the client itself. Anything that looks like a secret is masked. The fact ``maker`` says whose code it is.
    """
    text = text[:MAX_TEXT]
    cause, maker = _token_service_cause(text) or _mail_server_cause(text), ""
    codes = find_maker_codes(text) if cause is None else []
    if len({each.maker for each in codes}) == 1:
        cause, maker = codes[0].cause, codes[0].maker
    if cause is None and (row := find_shown(text)) is not None:
        cause = row.cause
    if cause is None:
        return None
    words = without_internals(_SECRET.sub("•••", " ".join(_quoted_reply(text).split())))
    resource = find_foreign_resource(text)
    facts = {
        "words": printable(words[:MAX_WORDS]),
        "maker": maker,
        "resource": "" if resource is None else resource.name,
    }
    return Diagnosis(cause, {name: value for name, value in facts.items() if value})


def _token_service_cause(text: str) -> str | None:
    """Return the cause of a token service's error in the text, if there is one."""
    members: dict[str, Any] = {}
    if match := _JSON.search(text):
        try:
            found: object = json.loads(match[0])
        except (ValueError, RecursionError):
            found = None
        members = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if "error" not in members:
        named = [
            error for error in error_table().errors if "_" in error and re.search(rf"\b{re.escape(error)}\b", text)
        ]
        if not named and not _AADSTS.search(text):
            return None
        members = {"error": named[0] if named else "invalid_request", "error_description": text}
    cause = classify_error(TokenServiceResponse(400, members), "refresh_token").cause
    return None if cause == "unknown" else cause


def _mail_server_cause(text: str) -> str | None:
    """Return the cause of a mail server's reply in the text, at the first stage where it is known."""
    for refusal in _refusals(text):
        cause = judge(refusal).cause
        if cause != "unknown":
            return cause
    return None


def _refusals(text: str) -> Iterator[Refusal]:
    for pattern, protocol in ((_POP3, "POP3"), (_IMAP, "IMAP")):
        if match := pattern.search(text):
            reply = Reply(None, match[1], match[2], positive=False)
            for stage, presented in _POP3_STAGES:
                yield Refusal(
                    protocol=cast("Any", protocol),
                    stage=cast("Any", stage),
                    reply=reply,
                    presented=cast("Any", presented),
                )
    for reply in _smtp_replies(text):
        sign_in_first = str(reply.code)[:2] == "53" or (bool(_SIGN_IN.search(text)) and reply.code != 530)
        stages = [("envelope", "RCPT"), ("envelope", "MAIL"), ("data", ""), ("greeting", "")]
        if "MAIL FROM" in text:
            stages.insert(0, ("envelope", "MAIL"))
        if "end of DATA" in text or "DATA command" in text:
            stages.insert(0, ("data", ""))
        sign_in = [("sign_in", "password"), ("sign_in", "token")]
        for stage, detail in [*sign_in, *stages] if sign_in_first else [*stages, *sign_in]:
            is_sign_in = stage == "sign_in"
            yield Refusal(
                protocol="SMTP",
                stage=cast("Any", stage),
                reply=reply,
                verb="" if is_sign_in else detail,
                presented=cast("Any", detail) if is_sign_in else None,
            )


def _smtp_replies(text: str) -> Iterator[Reply]:
    """Yield the possible SMTP replies in a text, the likeliest first."""
    for match in _SMTP.finditer(text):
        yield Reply(int(match[1]), match[2], _CONTINUED.sub(" ", match[3]), positive=False)
    if quoted := _ENHANCED.search(text):
        yield Reply(450 if quoted[1].startswith("4") else 550, quoted[1], quoted[2], positive=False)


def _quoted_reply(text: str) -> str:
    """Return the text of a quoted reply, or the whole text if none is quoted."""
    for pattern, group in ((_POP3, 2), (_IMAP, 2), (_SMTP, 3), (_ENHANCED, 2)):
        if match := pattern.search(text):
            return _CONTINUED.sub(" ", match[group])
    return text

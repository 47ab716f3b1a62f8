"""Explains a text copied from a panel, a log or another client."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.causes.cause import causes
from mailslot.causes.maker_codes import find_maker_codes
from mailslot.causes.rules import find_rule
from mailslot.causes.shown import find_shown
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.quoted_replies import possible_refusals, quoted_replies, unwrapped
from mailslot.diagnosis.server_words import without_internals
from mailslot.oauth.resources import find_foreign_resource
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_error_table import error_table
from mailslot.oauth.token_errors import classify_error
from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from mailslot.causes.refusal import Refusal
    from mailslot.causes.rules import Rule
    from mailslot.diagnosis.quoted_replies import QuotedReply

MAX_TEXT: Final = 20_000
"""Characters of the text that are searched."""

MAX_WORDS: Final = 160
"""Characters of the text that are quoted."""

_AADSTS: Final = re.compile(r"\bAADSTS\d{5,8}\b")
_JSON: Final = re.compile(r"\{.*\}", re.DOTALL)
_MEMBER: Final = re.compile(
    r"['\"]?\b(error|error_description)['\"]?\s*[:=]\s*['\"]?((?:[^'\"&}\r\n]|(?<=\w)'(?=\w))+)"
)
_HTTP: Final = re.compile(
    r"(?:token|oauth)[^\n]{0,80}\b(?:HTTP|status|fetch token)\D{0,12}(429|5\d\d)\b", re.IGNORECASE
)
_TOPIC: Final = re.compile(
    r"refresh ?token|client ?secret|client[_ ]id|oauth client|application with identifier"
    r"|\b(?:tenant|consent|admin approval)\b",
    re.IGNORECASE,
)
_SAID_BY_SERVERS_ALONE: Final = frozenset(
    {
        "smtp_auth_disabled",
        "pop_disabled",
        "app_password_required",
        "web_login_required",
        "password_no_longer_accepted",
        "sign_in_blocked_by_policy",
        "relay_denied",
    }
)
"""Causes that a client's own message never has."""
_SAID_OF_OTHER_THINGS: Final = frozenset(
    {"password_refused", "mailbox_full", "server_busy", "sign_in_temporarily_unavailable"}
)
"""Access is denied to folders, too, passwords are changed, and disks are full: nobody says that it is the server's."""
_NOBODY_ANSWERED: Final = frozenset(
    {"name_not_found", "network_unreachable", "connection_refused", "connection_timeout", "not_a_mail_server"}
)
"""Clients' messages that are the same for any failure, even when they quote the server's reply."""
_SECRET: Final = re.compile(r"\b(?:Bearer|AUTH \w+|PASS) \S+|[A-Za-z0-9+/_.\-]{60,}={0,2}")


def explain_pasted(text: str) -> Diagnosis | None:
    """Return the diagnosis of a copied text; None if nothing is known about it.

    A token service's error is searched for first, then a quoted reply of a mail server, then a maker's code,
    then the client's own words, at last what a server says without a code. What looks like a secret is masked. The
    fact ``maker`` says whose code it is.
    """
    text = unwrapped(text[:MAX_TEXT])
    replies = list(quoted_replies(text))
    cause, maker = _of_token_service(text) or _of_servers(replies) or _of_words(text, _SAID_BY_SERVERS_ALONE), ""
    codes = find_maker_codes(text) if cause is None else []
    if len({each.maker for each in codes}) == 1:
        cause, maker = codes[0].cause, codes[0].maker
    answered = any(reply.certain and reply.known for reply in replies)
    if cause is None and (row := find_shown(text)) is not None and not (answered and row.cause in _NOBODY_ANSWERED):
        cause = row.cause
    if cause is None:
        cause = _of_words(text, causes().keys() - _SAID_OF_OTHER_THINGS)
    if cause is None:
        return None
    quoted = next((reply.words for reply in replies if reply.words.strip()), text)
    words = without_internals(_SECRET.sub("•••", " ".join(quoted.split())))
    resource = find_foreign_resource(text)
    facts = {
        "words": printable(words[:MAX_WORDS]),
        "maker": maker,
        "resource": "" if resource is None else resource.name,
    }
    return Diagnosis(cause, {name: value for name, value in facts.items() if value})


def _of_token_service(text: str) -> str | None:
    """Return the diagnosis of a token service's error."""
    if match := _HTTP.search(text):
        return classify_error(TokenServiceResponse(int(match[1]), None)).cause
    members = _members_of(text)
    if members.get("error") not in error_table().errors:
        named = [
            error for error in error_table().errors if "_" in error and re.search(rf"\b{re.escape(error)}\b", text)
        ]
        if named or _AADSTS.search(text):
            members = {"error": named[0] if named else "invalid_request", "error_description": text}
        elif _TOPIC.search(text):
            members = {"error_description": text}
        else:
            return None
    elif _AADSTS.search(text) and not _AADSTS.search(str(members.get("error_description"))):
        members["error_description"] = text
    cause = classify_error(TokenServiceResponse(400, members), "refresh_token").cause
    return None if cause == "unknown" else cause


def _members_of(text: str) -> dict[str, Any]:
    """Return the members of an error response, as JSON or as printed by a program."""
    if match := _JSON.search(text):
        try:
            found: object = json.loads(match[0])
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and "error" in found:
            return cast("dict[str, Any]", found)
    return {match[1]: match[2].strip() for match in _MEMBER.finditer(text)}


def _of_servers(replies: Iterable[QuotedReply]) -> str | None:
    """Return the diagnosis of quoted replies, at the stage that explains them best."""
    for reply in replies:
        rule = next(_rules(reply.known), None) or min(_rules(reply.guessed), key=_distance, default=None)
        if rule is not None and (reply.certain or _distance(rule) < 2):
            return rule.cause
    return None


def _rules(refusals: Iterable[Refusal]) -> Iterator[Rule]:
    """Yield the matching rows with a known cause."""
    found = (find_rule(refusal) for refusal in refusals)
    return (rule for rule in found if rule is not None and rule.cause != "unknown")


def _of_words(text: str, among: Collection[str]) -> str | None:
    """Return the diagnosis of the words alone, if its cause is `among` some causes."""
    found = (rule.cause for rule in _rules(possible_refusals(text)) if _distance(rule) == 0)
    return next((cause for cause in found if cause in among), None)


def _distance(rule: Rule) -> int:
    """Return how weakly a row explains a reply: least if its words match, more by a code or by a guessed stage."""
    if rule.words is not None or rule.link is not None:
        return 0
    return 1 if rule.enhanced is not None and not rule.enhanced.fits("") else 2

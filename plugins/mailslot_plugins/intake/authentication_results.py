"""Checks whether a trusted server authenticated a mail's sender (RFC 8601)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.comments import strip_comments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot_plugins.intake.mail import OpenedMail

_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s;="]+)|([;=])')


@dataclass(frozen=True, slots=True)
class MethodResult:
    """The result of one authentication method.

    Attributes:
        method: its name, for example ``"dmarc"``, in lower case.
        result: its result, for example ``"pass"``, in lower case.
        properties: for example ``{"header.from": "example.com"}``, names and values in lower case.
    """

    method: str
    result: str
    properties: Mapping[str, str] = field(default_factory=dict[str, str])


def authentication_refusal(mail: OpenedMail, server: str, sender: str) -> str:
    """Return why a mail's sender is not considered genuine; empty if it is.

    Only the topmost field with the server's name counts: the server adds its own above all others (RFC 8601 section 5
    requires it to remove older ones with its name). It must add one to every mail.

    Args:
        mail: the mail.
        server: the name of the trusted server (authserv-id).
        sender: the only address in From.
    """
    found = next(
        (
            results
            for value in mail.values("authentication-results")
            for name, results in [parse_authentication_results(value)]
            if name == server.casefold()
        ),
        None,
    )
    if found is None:
        return f"{server} has not checked who sent it"
    domain = sender.rpartition("@")[2].casefold()
    dmarc = [each for each in found if each.method == "dmarc"]
    if dmarc:
        genuine = all(each.result == "pass" and _domain(each, "header.from") == domain for each in dmarc)
    else:
        genuine = any(
            (each.method == "dkim" and each.result == "pass" and _domain(each, "header.d", "header.i") == domain)
            or (each.method == "spf" and each.result == "pass" and _domain(each, "smtp.mailfrom") == domain)
            for each in found
        )
    return "" if genuine else f"{server} has not found it to be from {domain[:100]}"


def parse_authentication_results(value: str) -> tuple[str, tuple[MethodResult, ...]]:
    """Return the server's name, in lower case, and the results of its methods.

    The name is empty if the field is malformed or of another version than 1.
    """
    statements: list[list[str]] = [[]]
    for token in _TOKEN.finditer(strip_comments(value)):
        if token[3] == ";":
            statements.append([])
        else:
            quoted, plain = token[1], token[2]
            statements[-1].append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or "=")
    head = statements[0]
    if not head or "=" in head or (len(head) > 1 and head[1] != "1"):
        return "", ()
    return head[0].casefold(), tuple(result for each in statements[1:] if (result := _parse_method(each)) is not None)


def _parse_method(words: list[str]) -> MethodResult | None:
    pairs: list[tuple[str, str]] = []
    at = 0
    while at + 2 < len(words) and words[at + 1] == "=":
        pairs.append((words[at].casefold(), words[at + 2].casefold()))
        at += 3
    if not pairs or at < len(words):
        return None
    method, result = pairs[0]
    name, _, version = method.partition("/")
    if not name or version not in {"", "1"}:
        return None
    # The first property of a name counts.
    return MethodResult(name, result, dict(reversed(pairs[1:])))


def _domain(result: MethodResult, *names: str) -> str:
    for name in names:
        if name in result.properties:
            return result.properties[name].rpartition("@")[2]
    return ""

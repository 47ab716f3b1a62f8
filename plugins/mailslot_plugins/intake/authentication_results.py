"""Whether a server that is trusted has found a mail's sender to be genuine (RFC 8601)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.comments import without_comments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot_plugins.intake.mail import OpenedMail

_PIECE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s;="]+)|([;=])')


@dataclass(frozen=True, slots=True)
class Result:
    """What one method has found.

    Attributes:
        method: such as ``"dmarc"``, in lower case.
        result: such as ``"pass"``, in lower case.
        properties: such as ``{"header.from": "example.com"}``, names and values in lower case.
    """

    method: str
    result: str
    properties: Mapping[str, str] = field(default_factory=dict[str, str])


def why_not_genuine(mail: OpenedMail, server: str, sender: str) -> str:
    """Say why a mail's sender is not taken for genuine; empty where it is.

    Only the topmost field that bears the server's name counts: the server writes its own above whatever came with the
    mail (RFC 8601 section 5 has it remove what bears its name). It has to write one into every mail.

    Args:
        mail: the mail.
        server: the name of the server that is trusted (authserv-id).
        sender: the one address in From.
    """
    found = next(
        (
            results
            for value in mail.values("authentication-results")
            for name, results in [parse(value)]
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


def parse(value: str) -> tuple[str, tuple[Result, ...]]:
    """Return the server's name, in lower case, and what its methods have found.

    Of a field of another version than 1, or in no form that is known, the name is empty.
    """
    statements: list[list[str]] = [[]]
    for piece in _PIECE.finditer(without_comments(value)):
        if piece[3] == ";":
            statements.append([])
        else:
            quoted, plain = piece[1], piece[2]
            statements[-1].append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or "=")
    head = statements[0]
    if not head or "=" in head or (len(head) > 1 and head[1] != "1"):
        return "", ()
    return head[0].casefold(), tuple(result for each in statements[1:] if (result := _result(each)) is not None)


def _result(words: list[str]) -> Result | None:
    pairs: list[tuple[str, str]] = []
    at = 0
    while at + 2 < len(words) and words[at + 1] == "=":
        pairs.append((words[at].casefold(), words[at + 2].casefold()))
        at += 3
    if not pairs or at < len(words):
        return None
    method, result = pairs[0]
    name, _, version = method.partition("/")
    if version not in {"", "1"}:
        return None
    # The first one of a name counts.
    return Result(name, result, dict(reversed(pairs[1:])))


def _domain(result: Result, *names: str) -> str:
    for name in names:
        if name in result.properties:
            return result.properties[name].rpartition("@")[2]
    return ""

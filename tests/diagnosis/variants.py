"""Changes of a refusal that say the same: other hosts, lines, letters, codes and blanks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailslot.causes.refusal import Refusal
    from mailslot.causes.rules import Rule

_OWN: Final = re.compile(r"\[[\w.]+\]|\S+ - gsmtp")

Change = Callable[[str, str], tuple[str, str]]


def other_host(code: str, words: str) -> tuple[str, str]:
    return code, _OWN.sub("", words).strip() + " [XX1PR02CA0077.eurprd02.prod.outlook.com]"


def trailing_id(code: str, words: str) -> tuple[str, str]:
    return code, _OWN.sub("", words).strip() + " (in reply to c4-20020a05.123 - gsmtp)"


def no_host(code: str, words: str) -> tuple[str, str]:
    return code, _OWN.sub("", words).strip()


def capitals(code: str, words: str) -> tuple[str, str]:
    return code, words.upper()


def small_letters(code: str, words: str) -> tuple[str, str]:
    return code, words.lower()


def blanks(code: str, words: str) -> tuple[str, str]:
    return code, "   ".join(words.split())


def lines(code: str, words: str) -> tuple[str, str]:
    halves = words.split()
    middle = max(1, len(halves) // 2)
    return code, " ".join(halves[:middle]) + "\n" + " ".join(halves[middle:])


def other_code(code: str, words: str) -> tuple[str, str]:
    return f"{code[0]}.7.99" if code[:1].isdigit() else "AUTH", words


def no_code(code: str, words: str) -> tuple[str, str]:
    return "", words


def other_words(code: str, words: str) -> tuple[str, str]:
    return code, "Something else entirely"


WORDS = [other_host, trailing_id, no_host, capitals, small_letters, blanks]


def changes_for(rule: Rule, refusal: Refusal) -> list[Change]:
    """Return the changes that keep what the row names."""
    found: list[Change] = list(WORDS)
    if rule.words is not None and "^" in rule.words.pattern:
        found = [change for change in found if change not in {other_host, trailing_id}]
    found += [lines] if refusal.protocol == "SMTP" else []
    # With another code of POP3's, a session may try a second time, which is not in the transcript.
    recoded = rule.enhanced is None and rule.words is not None and rule.cause != "too_many_connections"
    found += [other_code, no_code] if recoded else []
    found += [other_words] if rule.words is None and rule.enhanced is not None else []
    return found


def varied(refusal: Refusal, change: Change) -> Refusal:
    """Return a refusal whose reply is changed."""
    code, words = change(refusal.reply.enhanced or "", " ".join(refusal.reply.text.split("\n")))
    return replace(refusal, reply=replace(refusal.reply, enhanced=code or None, text=words))

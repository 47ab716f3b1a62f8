"""The rows are not tied to one string: the same refusals with other hosts, lines, letters, codes and blanks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest

import virtual_time
from diagnosis.transcript_errors import errors_of_transcript
from mailslot.causes.rules import table
from transcripts import FIXTURES, parse

if TYPE_CHECKING:
    import ssl

    from mailslot.causes.rules import Rule

pytestmark = pytest.mark.virtual_time

_SMTP: Final = re.compile(r"^S: ([45]\d\d)([- ])(?:(\d\.\d+\.\d+) +)?(.*)$")
_POP3: Final = re.compile(r"^S: -ERR(?: \[([A-Z/-]+)\])? ?(.*)$")
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


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """What is said is told apart alike on either loop; `test_rules` has each of these dialogues on both."""
    return virtual_time.backend("asyncio")


WORDS = [other_host, trailing_id, no_host, capitals, small_letters, blanks]


def changes_for(rule: Rule, folder: str) -> list[Change]:
    """Return the changes that keep what the row names."""
    found: list[Change] = list(WORDS)
    if rule.words is not None and "^" in rule.words.pattern:
        found = [change for change in found if change not in {other_host, trailing_id}]
    found += [lines] if folder == "smtp" else []
    # With another code of POP3's, a session may try a second time, which is not in the transcript.
    recoded = rule.enhanced is None and rule.words is not None and rule.cause != "too_many_connections"
    found += [other_code, no_code] if recoded else []
    found += [other_words] if rule.words is None and rule.enhanced is not None else []
    return found


def varied(text: str, folder: str, change: Change) -> str:
    """Return a transcript's text with every refusal of the server changed."""
    written: list[str] = []
    held: list[str] = []
    for line in text.split("\n"):
        smtp, pop3 = _SMTP.match(line), _POP3.match(line)
        if folder == "smtp" and smtp:
            held.append(smtp[4])
            if smtp[2] == " ":
                code, words = change(smtp[3] or "", " ".join(held))
                *first, last = [f"{code} {part}".strip() for part in words.split("\n")]
                written += [f"S: {smtp[1]}-{part}" for part in first] + [f"S: {smtp[1]} {last}"]
                held = []
        elif folder == "pop3" and pop3:
            code, words = change(pop3[1] or "", pop3[2])
            written.append(f"S: -ERR {f'[{code}] ' if code else ''}{words}")
        else:
            written.append(line)
    return "\n".join(written)


CASES = [
    pytest.param(fixture, rule.cause, change, id=f"{fixture}-{change.__name__}")
    for rule in table().rules
    for fixture in rule.fixtures
    for change in changes_for(rule, fixture.partition("/")[0])
]


@pytest.mark.parametrize(("fixture", "cause", "change"), CASES)
async def test_variant(
    fixture: str,
    cause: str,
    change: Change,
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
) -> None:
    folder, _, name = fixture.partition("/")
    text = (FIXTURES / f"{fixture}.txt").read_text("utf-8")
    transcript = parse(name, varied(text, folder, change))
    errors = await errors_of_transcript(transcript, client_context, server_context)
    assert cause in {error.cause for error in errors}, errors
